/** Compares the candles of two topics, number for number. */
import type { Schemas } from '../../core/avro/schemas.ts';
import type { KafkaLog } from '../../core/kafka/log.ts';
import { readTopic } from '../../proof/reading/topic.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';

export interface Comparison {
  /** Windows that both have closed. */
  readonly common: number;
  /** Windows that one has closed: each symbol's last ones, which the other's rule of time has not closed yet. */
  readonly onlyFirst: number;
  readonly onlySecond: number;
  /** Keys of windows that both have closed with a difference in any field except revision and processor version. */
  readonly different: readonly string[];
}

/** The newest closed candle of each one-minute window, as text. */
export async function closedCandles(
  log: KafkaLog,
  schemas: Schemas,
  topic: string,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for await (const portion of readTopic<Candle>(log, schemas, topic, contracts.candle)) {
    for (const { value: candle } of portion) {
      if (candle.interval !== '1m' || candle.status === 'PARTIAL') continue;
      const { revision: _revision, provenance, ...rest } = candle;
      const fields = { ...rest, provenance: { ...provenance, processor_version: '' } };
      const text = JSON.stringify(fields, (_name, value: unknown) => (typeof value === 'bigint' ? `${value}` : value));
      found.set(`${candle.venue} ${candle.symbol} ${candle.window_start}`, text);
    }
  }
  return found;
}

export function compare(first: ReadonlyMap<string, string>, second: ReadonlyMap<string, string>): Comparison {
  const common = [...first.keys()].filter((key) => second.has(key));
  return {
    common: common.length,
    onlyFirst: first.size - common.length,
    onlySecond: second.size - common.length,
    different: common.filter((key) => first.get(key) !== second.get(key)),
  };
}
