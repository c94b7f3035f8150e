import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { LateTrade } from '../../../schemas/gen/late_trade.ts';
import type { MarketTrade } from '../../../schemas/gen/market_trade.ts';
import { tradesTopic } from '../../reading/topic.ts';
import { find, offsetAt } from '../find.ts';
import type { TraceSources } from '../sources.ts';
import type { Trail } from '../trail.ts';

/** A record and its position. */
export interface RecordPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

/** A late record: a processor's treatment of a change that did not simply join a window. */
export interface LedgerEntry extends RecordPosition {
  readonly processor: string;
  readonly reason: string;
  readonly effect: string;
  /** Null if it does not concern a single candle. */
  readonly interval: string | null;
  /** Microseconds. */
  readonly windowStart: bigint | null;
  /** Microseconds behind the watermark; null if it was not behind. */
  readonly latenessUs: bigint | null;
}

/** A dead letter: the processor or sink that refused a change, and the reason. */
export interface TracedRefusal extends RecordPosition {
  readonly processor: string;
  readonly reason: string;
  readonly error: string;
  readonly attempts: number;
}

/** The processors' records about one change, beside its candles. */
export interface ChangeOutcome {
  readonly ledger: LedgerEntry[];
  readonly refusals: TracedRefusal[];
  /** The change, enriched with its instrument, in `market.trades`. */
  readonly enriched: RecordPosition[];
}

/** The changes to look up. */
export interface ChangeSelection {
  readonly partition: number;
  readonly offsets: ReadonlySet<bigint>;
  /** Texts that every late record about them contains. */
  readonly texts: readonly string[];
  /**
   * Lower bounds, milliseconds: no output of the changes has an earlier log time, and no dead letter an earlier timestamp. Undefined:
   * unknown.
   */
  readonly since: { readonly logTime: bigint | undefined; readonly recordTime: bigint | undefined };
}

/** The processors that read trades. The candle processor may run under the name of a variant. */
export interface Readers {
  readonly candles: string;
}

/** The treatment of these changes by every processor that reads trades, by offset. */
export async function findOutcomes(
  sources: TraceSources,
  trail: Trail,
  asked: ChangeSelection,
  readers: Readers,
): Promise<ReadonlyMap<bigint, ChangeOutcome>> {
  const outcomes = new Map<bigint, ChangeOutcome>();
  for (const offset of asked.offsets) outcomes.set(offset, { ledger: [], refusals: [], enriched: [] });
  if (asked.offsets.size === 0) return outcomes;
  const bytes = asked.texts.map((text) => Buffer.from(text));
  const processors = [readers.candles, 'enrichment', 'features'];
  for (const processor of processors) {
    const where = await since(sources, `${processor}.late`, asked, asked.since.logTime);
    for await (const { record, value, searched } of find<LateTrade>(sources, trail, where, {
      reader: contracts.late_trade,
      bytes,
    })) {
      const outcome = outcomeOf(outcomes, asked, value.origin);
      if (outcome === undefined) continue;
      searched.found++;
      const { reason, effect, interval, window_start: windowStart, lateness_us: latenessUs } = value;
      const place = { topic: where.topic, partition: where.partition, offset: record.offset };
      outcome.ledger.push({ ...place, processor, reason, effect, interval, windowStart, latenessUs });
    }
  }
  for (const processor of [...processors, 'anomaly', 'parquet']) {
    const where = await since(sources, `${processor}.dead`, asked, asked.since.recordTime);
    for await (const { record, value, searched } of find<DeadLetter>(sources, trail, where, {
      reader: contracts.dead_letter,
      bytes: [],
    })) {
      const outcome = outcomeOf(outcomes, asked, value.origin);
      if (outcome === undefined) continue;
      searched.found++;
      const place = { topic: where.topic, partition: where.partition, offset: record.offset };
      const { reason, error, attempts } = value;
      outcome.refusals.push({ ...place, processor, reason, error, attempts });
    }
  }
  const where = await since(sources, 'market.trades', asked, asked.since.logTime);
  for await (const { record, value, searched } of find<MarketTrade>(sources, trail, where, {
    reader: contracts.market_trade,
    bytes,
  })) {
    const outcome = outcomeOf(outcomes, asked, value.origin);
    if (outcome === undefined) continue;
    searched.found++;
    outcome.enriched.push({ topic: where.topic, partition: where.partition, offset: record.offset });
  }
  return outcomes;
}

/** The start of a search in a derived topic, with a note about it. */
export async function since(
  sources: TraceSources,
  topic: string,
  { partition }: Pick<ChangeSelection, 'partition'>,
  millis: bigint | undefined,
): Promise<{ topic: string; partition: number; from?: bigint; note?: string }> {
  const from = await offsetAt(sources, topic, partition, millis);
  return from === undefined
    ? { topic, partition }
    : { topic, partition, from, note: 'from the time of the first change on' };
}

function outcomeOf(
  outcomes: ReadonlyMap<bigint, ChangeOutcome>,
  { partition }: ChangeSelection,
  origin: { readonly topic: string; readonly partition: number; readonly offset: bigint },
): ChangeOutcome | undefined {
  return origin.topic === tradesTopic && origin.partition === partition ? outcomes.get(origin.offset) : undefined;
}
