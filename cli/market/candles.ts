/** The newest revision of each candle of a symbol in the topic. */
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';
import { resolveTopic } from '../../core/operations/aliases.ts';
import { readTopic } from '../../proof/reading/topic.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';

export interface CandleQuery {
  readonly symbol: string;
  readonly venue?: string;
  readonly interval: string;
  /** Inclusive lower bound of the window start, microseconds. */
  readonly from?: bigint;
  /** Exclusive upper bound of the window start, microseconds. */
  readonly to?: bigint;
  readonly signal?: AbortSignal;
}

export interface FoundCandles {
  /** Ordered by venue and window start. */
  readonly candles: readonly Candle[];
  /** Intervals of each symbol in the topic. */
  readonly known: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Reads the topic from its start, so it is for commands and not for services. */
export async function readCandles(log: Log, schemas: Schemas, query: CandleQuery): Promise<FoundCandles> {
  const newest = new Map<string, Candle>();
  const known = new Map<string, Set<string>>();
  const topic = await resolveTopic(log, schemas, 'market.candles');
  for await (const portion of readTopic<Candle>(log, schemas, topic, contracts.candle, query.signal)) {
    for (const { value: candle } of portion) {
      const intervals = known.get(candle.symbol) ?? new Set();
      known.set(candle.symbol, intervals.add(candle.interval));
      if (wanted(candle, query)) newest.set(`${candle.venue}\n${candle.window_start}`, candle);
    }
  }
  const order = (a: Candle, b: Candle) => compare(a.venue, b.venue) || compare(a.window_start, b.window_start);
  return { candles: [...newest.values()].sort(order), known };
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
