import { groupOf } from '../../../core/runtime/runner.ts';
import { formatDecimal, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatLsn } from '../../../core/values/lsn.ts';
import { formatTimestamp, parseTimestamp } from '../../../core/values/time.ts';
import type { TradeRow } from '../../../schemas/gen/trade_change.ts';
import { tradesTopic } from '../../reading/topic.ts';
import {
  candlePlace,
  candlesTopic,
  findRebuilt,
  findRevisions,
  nameOf,
  type WindowTrace,
} from '../candle/revisions.ts';
import { boundsOf } from '../find.ts';
import { Listing } from '../object/listing.ts';
import type { TraceSources, TradeId } from '../sources.ts';
import { numberIn, shown, tradeColumns } from '../texts.ts';
import { type Finding, type Searched, Trail } from '../trail.ts';
import { type Agreement, agreement } from './agreement.ts';
import { type AnomalyView, findAnomalies } from './anomalies.ts';
import { type Change, type ChangeRange, findChanges, partitionOfTrade, repeated } from './changes.ts';
import { type Located, locate } from './located.ts';
import { notApplied, type Step, type Taken, windowKey, windowsTaken } from './membership.ts';
import { findOutcomes, type LedgerEntry, type Outcome, type Placed, type Refusal } from './outcomes.ts';
import { type PostgresRow, readRow, untilCaptured } from './postgres.ts';

/** The whole way of one row. Instants are ISO 8601 or, where a name says so, microseconds; decimals are texts. */
export interface RowTrace {
  readonly table: 'trades';
  readonly key: TradeId;
  /** In Postgres, in the log, or in the archive. */
  readonly found: boolean;
  readonly postgres: {
    readonly present: boolean;
    readonly row: Readonly<Record<string, string | null>> | null;
    /** The transaction that wrote the row as it is, 32 bits as Postgres keeps them. */
    readonly xmin: bigint | null;
    readonly committedAt: string | null;
    /** The change in the log that wrote this version; null when its transaction is not in the log. */
    readonly writtenBy: bigint | null;
  };
  /** In offset order. */
  readonly changes: readonly ChangeTrace[];
  readonly anomalies: readonly AnomalyView[];
  readonly searched: readonly Searched[];
  readonly findings: readonly Finding[];
  /** No two stores contradict each other. */
  readonly ok: boolean;
}

export interface ChangeTrace extends Placed {
  readonly operation: 'insert' | 'snapshot' | 'update' | 'delete';
  readonly source: 'log' | 'archive';
  readonly transaction: bigint | null;
  readonly lsn: string | null;
  readonly lsnNumber: bigint | null;
  readonly commitTime: string;
  /** The row after the change; of a delete the row before it. */
  readonly row: Readonly<Record<string, string | null>>;
  /** Columns that an update changed, as they were before; null when nobody knows. */
  readonly before: Readonly<Record<string, string | null>> | null;
  readonly schemaId: number | null;
  /** The offset of the first delivery, when this is the same change once more. */
  readonly repeats: bigint | null;
  /** Set when an operator sent the record again, for this processor alone. */
  readonly redrivenFor: string | null;
  readonly ledger: readonly LedgerEntry[];
  readonly refusals: readonly Refusal[];
  readonly enriched: readonly Placed[];
  readonly candles: readonly WindowTrace[];
  readonly archive: Located;
}

export interface RowTraceOptions {
  readonly range?: (partition: number) => ChangeRange;
  /** The connector's replication slot, to tell a change that is lost from one that is on its way. */
  readonly slot: string;
  /** How long to wait for the capture when Postgres and log disagree. Default 10,000. */
  readonly waitMs?: number;
}

const operations: Readonly<Record<string, ChangeTrace['operation']>> = {
  c: 'insert',
  r: 'snapshot',
  u: 'update',
  d: 'delete',
};

/** Follows a row from Postgres to its Parquet file. Reads only; memory is bounded by the row's own history. */
export async function traceRow(sources: TraceSources, id: TradeId, options: RowTraceOptions): Promise<RowTrace> {
  const trail = new Trail();
  const listing = new Listing(sources, trail, tradesTopic);
  const partition = await partitionOfTrade(sources, id);
  const searchedPostgres = trail.search('Postgres public.trades', null);
  const range = options.range?.(partition) ?? {};
  const postgres = await readRow(sources.db, id, sources.masks);
  searchedPostgres.records = searchedPostgres.found = postgres.texts === null ? 0 : 1;
  const changes = await findChanges(sources, trail, listing, id, partition, range);
  const verdict = await reconcile(sources, trail, { id, partition, postgres, changes, range, options, listing });
  incomplete(trail, changes, partition);
  const parts = await follow(sources, trail, id, partition, changes);
  return {
    table: 'trades',
    key: id,
    found: postgres.texts !== null || changes.length > 0,
    postgres: {
      present: postgres.texts !== null,
      row: postgres.texts === null ? null : shown(tradeColumns, postgres.texts),
      xmin: postgres.xmin,
      committedAt: postgres.committedAt,
      writtenBy: verdict.writtenBy,
    },
    ...parts,
    searched: trail.searched,
    findings: trail.findings,
    ok: trail.ok,
  };
}

interface Reconciling {
  readonly id: TradeId;
  readonly partition: number;
  readonly postgres: PostgresRow;
  /** What is captured meanwhile is added. */
  readonly changes: Change[];
  readonly range: ChangeRange;
  readonly options: RowTraceOptions;
  readonly listing: Listing;
}

/**
 * Compares Postgres with the log. Before they are said to contradict each other, all that was committed before the row was read has to be in the log, and
 * all of the log that may hold a change has to have been searched.
 */
async function reconcile(sources: TraceSources, trail: Trail, of: Reconciling): Promise<Agreement> {
  const { id, partition, postgres, changes, range, options, listing } = of;
  const first = agreement(postgres, changes, repeated(changes));
  if (first.problem === undefined) return first;
  if (range.from !== undefined || range.to !== undefined) {
    trail.gone(`${first.problem}; but only a part of the log was searched`);
    return first;
  }
  const captured = await untilCaptured(sources.db, options.slot, postgres.walLsn, {
    waitMs: options.waitMs ?? 10_000,
    ...(sources.signal === undefined ? {} : { signal: sources.signal }),
  });
  const from = trail.searched.find(({ where }) => where === `${tradesTopic}/${partition}`)?.to ?? 0n;
  changes.push(...(await findChanges(sources, trail, listing, id, partition, { from })));
  const verdict = agreement(postgres, changes, repeated(changes));
  const { problem } = verdict;
  if (problem === undefined) return verdict;
  const lost = await unreachable(sources, listing, partition);
  if (lost !== undefined) trail.gone(`${problem}; ${lost}`);
  else if (captured) trail.difference(problem);
  else trail.pending(`${problem}; the slot ${options.slot} has not confirmed that it was captured`);
  return verdict;
}

/** Why a change may be in neither: the log begins after it, and the archive did not take all that was before. */
async function unreachable(sources: TraceSources, listing: Listing, partition: number): Promise<string | undefined> {
  const { start } = (await boundsOf(sources.log, tradesTopic, partition)) ?? { start: 0n };
  if (start === 0n) return undefined;
  const objects = await listing.of(partition);
  const isWhole =
    objects.some((each) => each.from_offset === 0n) && (await positionOf(sources, 'parquet', partition)) >= start;
  return isWhole ? undefined : `the log begins at ${start}, and the archive does not hold all that was before`;
}

/** How far a processor or sink has committed the log of trades; 0 for one that never ran. */
async function positionOf({ log }: TraceSources, name: string, partition: number): Promise<bigint> {
  const positions = await log.committed(groupOf(name), tradesTopic);
  return positions.find((each) => each.partition === partition)?.offset ?? 0n;
}

/** What became of the changes downstream. */
async function follow(
  sources: TraceSources,
  trail: Trail,
  id: TradeId,
  partition: number,
  changes: readonly Change[],
): Promise<Pick<RowTrace, 'changes' | 'anomalies'>> {
  const offsets = new Set(changes.map(({ offset }) => offset));
  const candles = await candlePlace(sources, id);
  // Outputs are committed with the position in the log: what is read after it holds all that was made of what is before it.
  const archived = await positionOf(sources, 'parquet', partition);
  const processed = await positionOf(sources, candles.processor, partition);
  const since = {
    logTime: least(changes.map(({ texts }) => numberIn(texts, '_source_time'))),
    recordTime: least(
      changes.map(({ recordTime }) => recordTime ?? undefined),
      1n,
    ),
  };
  const asked = { partition, offsets, texts: [id.trade_id], since };
  const outcomes = await findOutcomes(sources, trail, asked, { candles: candles.processor });
  const reached = changes.filter(({ offset }) => offset < processed);
  for (const { offset } of changes.slice(reached.length)) {
    trail.pending(
      `${tradesTopic}/${partition} offset ${offset} is in no candle yet: ${candles.processor} has committed up to ${processed}`,
    );
  }
  const at = { ...candles, since: since.logTime, before: processed };
  const steps = reached.map((change) => stepOf(change, outcomes.get(change.offset), candles.processor));
  const left = new Set(steps.flatMap(({ ledger }) => notApplied(ledger)));
  const taken = windowsTaken(steps, sources.candles, await findRebuilt(sources, trail, id, left, at));
  const revisions = await findRevisions(sources, trail, id, taken, at);
  checkRevised(trail, id, outcomes, taken, revisions, candles.processor);
  const anomalies = await findAnomalies(sources, trail, id, offsets, taken, {
    partition: candles.partition,
    since: since.logTime,
  });
  const refused = new Set(
    [...outcomes].flatMap(([offset, { refusals }]) =>
      refusals.some(({ processor }) => processor === 'parquet') ? [offset] : [],
    ),
  );
  const located = await locate(sources, trail, partition, changes, { committed: archived, refused });
  const repeats = repeated(changes);
  return {
    changes: changes.map((change) => {
      const { offset } = change;
      const outcome = outcomes.get(offset) as Outcome;
      const found = { ...outcome, candles: revisions.get(offset) ?? [], archive: located.get(offset) as Located };
      return { ...viewOf(change, partition), ...found, repeats: repeats.get(offset) ?? null };
    }),
    anomalies,
  };
}

function viewOf(
  { offset, source, texts, before, schemaId, redriven }: Change,
  partition: number,
): Omit<ChangeTrace, 'repeats' | 'archive' | 'candles' | keyof Outcome> {
  const lsn = numberIn(texts, '_lsn');
  const operation = operations[texts['_op'] ?? ''] ?? 'update';
  const row = shown(tradeColumns, texts);
  return {
    operation,
    source,
    topic: tradesTopic,
    partition,
    offset,
    transaction: numberIn(texts, '_tx_id') ?? null,
    lsn: lsn === undefined ? null : formatLsn(lsn),
    lsnNumber: lsn ?? null,
    commitTime: formatTimestamp(numberIn(texts, '_source_time') ?? 0n),
    row,
    before: operation === 'update' && before !== null ? changed(before, row) : null,
    schemaId,
    redrivenFor: redriven?.processor ?? null,
  };
}

/** What the row before the change had otherwise. */
function changed(before: TradeRow, row: Readonly<Record<string, string | null>>): Record<string, string | null> {
  const was: Record<string, string | null> = {
    venue_sequence: before.venue_sequence?.toString() ?? null,
    price: formatDecimal(before.price, PRICE_SCALE),
    size: formatDecimal(before.size, PRICE_SCALE),
    side: before.side,
    executed_at: formatTimestamp(parseTimestamp(before.executed_at)),
    conditions: before.conditions,
  };
  return Object.fromEntries(Object.entries(was).filter(([name, value]) => row[name] !== value));
}

/** What a candle can know of a change. */
function stepOf({ offset, texts, before, redriven }: Change, outcome: Outcome | undefined, processor: string): Step {
  const own = <T extends { readonly processor: string }>(entries: readonly T[] = []) =>
    entries.filter((each) => each.processor === processor);
  return {
    offset,
    venue: texts['venue'] as string,
    after: texts['_op'] === 'd' ? null : (numberIn(texts, 'executed_at') ?? null),
    before: before === null ? null : parseTimestamp(before.executed_at),
    foreign: redriven !== null && redriven.processor !== processor,
    ledger: own(outcome?.ledger),
    refusals: own(outcome?.refusals),
  };
}

/** A late record that says REVISED needs the revision that it speaks of: the one whose input ends with the change. */
function checkRevised(
  trail: Trail,
  id: TradeId,
  outcomes: ReadonlyMap<bigint, Outcome>,
  taken: ReadonlyMap<string, Taken>,
  revisions: ReadonlyMap<bigint, readonly WindowTrace[]>,
  processor: string,
): void {
  const isCut = trail.searched.some(({ where, cut }) => where.startsWith(candlesTopic) && cut);
  for (const [offset, { ledger }] of outcomes) {
    for (const entry of ledger) {
      const { effect, interval, windowStart } = entry;
      if (entry.processor !== processor || effect !== 'REVISED' || interval === null || windowStart === null) continue;
      if (!taken.has(windowKey(interval, windowStart))) continue;
      const window = revisions
        .get(offset)
        ?.find((each) => each.interval === interval && each.windowStart === windowStart);
      if (window?.revisions.some(({ input }) => input?.to === offset) === true || (window?.omitted ?? 0) > 0) continue;
      const name = nameOf({ ...id, interval, window_start: windowStart });
      const what = `${entry.topic}/${entry.partition} offset ${entry.offset} says that ${name} was revised, and no revision ends with offset ${offset}`;
      if (isCut) trail.gone(`${what}; retention may have deleted it`);
      else trail.difference(what);
    }
  }
}

/** A history that begins in the middle says so. */
function incomplete(trail: Trail, changes: readonly Change[], partition: number): void {
  const [first] = changes;
  const op = first?.texts['_op'];
  if (first !== undefined && op !== 'c' && op !== 'r') {
    trail.gone(
      `the first change that was found is ${op === 'u' ? 'an update' : 'a delete'}, at ${tradesTopic}/${partition} offset ${first.offset}: what came before is not in what was searched`,
    );
  }
}

/** Milliseconds of the earliest; undefined when one is unknown. @param unit microseconds are 1000 to the millisecond */
function least(times: readonly (bigint | undefined)[], unit = 1000n): bigint | undefined {
  let found: bigint | undefined;
  for (const time of times) {
    if (time === undefined) return undefined;
    if (found === undefined || time < found) found = time;
  }
  return found === undefined ? undefined : found / unit;
}
