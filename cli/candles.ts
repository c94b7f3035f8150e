/** The newest revision of each candle of a symbol, as the topic holds it. */
import { AvroDecoder } from '../core/avro/decoder.ts';
import type { Schemas } from '../core/avro/schemas.ts';
import { type Log, readRange } from '../core/runtime/log.ts';
import type { Candle } from '../schemas/gen/candle.ts';
import { schemas as contracts } from '../schemas/gen/index.ts';

export interface CandleQuery {
  readonly symbol: string;
  readonly venue?: string;
  readonly interval: string;
  /** Microseconds, window start at or after. */
  readonly from?: bigint;
  /** Microseconds, window start before. */
  readonly to?: bigint;
  readonly signal?: AbortSignal;
}

/** In the order of venue and window start. Reads the topic from its start: for a terminal, not for a service. */
export async function readCandles(log: Log, schemas: Schemas, query: CandleQuery): Promise<Candle[]> {
  const topic = 'market.candles';
  const decoder = new AvroDecoder<Candle>(schemas, contracts.candle);
  const newest = new Map<string, Candle>();
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  const options = { maxWaitMs: 500, maxBytesPerPartition: 1_048_576, ...(query.signal && { signal: query.signal }) };
  for (const [partition, to] of ends.entries()) {
    for await (const records of readRange(log, { topic, partition, from: starts[partition] ?? 0n, to }, options)) {
      const missing = decoder.missing(records.map(({ value }) => value));
      if (missing.length > 0) await decoder.prepare(missing);
      for (const { value } of records) {
        if (value === null) continue;
        const candle = decoder.decode(value);
        if (wanted(candle, query)) newest.set(`${candle.venue}\n${candle.window_start}`, candle);
      }
    }
  }
  return [...newest.values()].sort((a, b) => compare(a.venue, b.venue) || compare(a.window_start, b.window_start));
}

function wanted(candle: Candle, query: CandleQuery): boolean {
  return (
    candle.symbol === query.symbol &&
    candle.interval === query.interval &&
    (query.venue === undefined || candle.venue === query.venue) &&
    (query.from === undefined || candle.window_start >= query.from) &&
    (query.to === undefined || candle.window_start < query.to)
  );
}

function compare<T>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
