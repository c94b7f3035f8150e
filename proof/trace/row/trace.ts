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
import { ObjectListing } from '../object/listing.ts';
import type { TraceSources, TradeId } from '../sources.ts';
import { numberIn, shown, tradeColumns } from '../texts.ts';
import { type SearchedRange, type TraceFinding, Trail } from '../trail.ts';
import { type Agreement, agreement } from './agreement.ts';
import { type AnomalyView, findAnomalies } from './anomalies.ts';
import { type ChangeRange, findChanges, partitionOfTrade, repeated, type TracedChange } from './changes.ts';
import { type ChangeLocation, locate } from './located.ts';
import { notApplied, type WindowChange, type WindowMembership, windowKey, windowsTaken } from './membership.ts';
import {
  type ChangeOutcome,
  findOutcomes,
  type LedgerEntry,
  type RecordPosition,
  type TracedRefusal,
} from './outcomes.ts';
import { type PostgresRow, readRow, untilCaptured } from './postgres.ts';

/** The complete path of one row. Instants are ISO 8601 or, if a name says so, microseconds; decimals are texts. */
export interface RowTrace {
  readonly table: 'trades';
  readonly key: TradeId;
  /** Whether it is in Postgres, in the log, or in the archive. */
  readonly found: boolean;
  readonly postgres: {
    readonly present: boolean;
    readonly row: Readonly<Record<string, string | null>> | null;
    /** The transaction that wrote the present row, 32 bits as in Postgres. */
    readonly xmin: bigint | null;
    readonly committedAt: string | null;
    /** The change in the log that wrote this version; null if its transaction is not in the log. */
    readonly writtenBy: bigint | null;
  };
  /** In offset order. */
  readonly changes: readonly ChangeTrace[];
  readonly anomalies: readonly AnomalyView[];
  readonly searched: readonly SearchedRange[];
  readonly findings: readonly TraceFinding[];
  /** No two stores contradict each other. */
  readonly ok: boolean;
}

export interface ChangeTrace extends RecordPosition {
  readonly operation: 'insert' | 'snapshot' | 'update' | 'delete';
  readonly source: 'log' | 'archive';
  readonly transaction: bigint | null;
  readonly lsn: string | null;
  readonly lsnNumber: bigint | null;
  readonly commitTime: string;
  /** The row after the change; for a delete the row before it. */
  readonly row: Readonly<Record<string, string | null>>;
  /** Columns that an update changed, with their former values; null if unknown. */
  readonly before: Readonly<Record<string, string | null>> | null;
  readonly schemaId: number | null;
  /** Offset of the first delivery, if this change is a repetition. */
  readonly repeats: bigint | null;
  /** Set if an operator redrove the record, for this processor only. */
  readonly redrivenFor: string | null;
  readonly ledger: readonly LedgerEntry[];
  readonly refusals: readonly TracedRefusal[];
  readonly enriched: readonly RecordPosition[];
  readonly candles: readonly WindowTrace[];
  readonly archive: ChangeLocation;
}

export interface RowTraceOptions {
  readonly range?: (partition: number) => ChangeRange;
  /** The connector's replication slot. It distinguishes a lost change from one on its way. */
  readonly slot: string;
  /** Longest wait for the capture when Postgres and log disagree, milliseconds. Default 10,000. */
  readonly waitMs?: number;
}

const operations: Readonly<Record<string, ChangeTrace['operation']>> = {
  c: 'insert',
  r: 'snapshot',
  u: 'update',
  d: 'delete',
};

/** Follows a row from Postgres to its Parquet file. Read-only; the row's own history bounds memory. */
export async function traceRow(sources: TraceSources, id: TradeId, options: RowTraceOptions): Promise<RowTrace> {
  const trail = new Trail();
  const listing = new ObjectListing(sources, trail, tradesTopic);
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
  /** Changes that are captured meanwhile are added. */
  readonly changes: TracedChange[];
  readonly range: ChangeRange;
  readonly options: RowTraceOptions;
  readonly listing: ObjectListing;
}

/**
 * Compares Postgres with the log. It reports a contradiction only under two conditions: the log has everything committed before the row was
 * read, and the search covered all of the log that may hold a change.
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

/** The reason why a change may be in neither place: the log begins after it, and the archive did not take everything before. */
async function unreachable(
  sources: TraceSources,
  listing: ObjectListing,
  partition: number,
): Promise<string | undefined> {
  const { start } = (await boundsOf(sources.log, tradesTopic, partition)) ?? { start: 0n };
  if (start === 0n) return undefined;
  const objects = await listing.of(partition);
  const isWhole =
    objects.some((each) => each.from_offset === 0n) && (await positionOf(sources, 'parquet', partition)) >= start;
  return isWhole ? undefined : `the log begins at ${start}, and the archive does not hold all that was before`;
}

/** The committed position of a processor or sink in the log of trades; 0 if it never ran. */
async function positionOf({ log }: TraceSources, name: string, partition: number): Promise<bigint> {
  const positions = await log.committed(groupOf(name), tradesTopic);
  return positions.find((each) => each.partition === partition)?.offset ?? 0n;
}

/** Follows the changes downstream. */
async function follow(
  sources: TraceSources,
  trail: Trail,
  id: TradeId,
  partition: number,
  changes: readonly TracedChange[],
): Promise<Pick<RowTrace, 'changes' | 'anomalies'>> {
  const offsets = new Set(changes.map(({ offset }) => offset));
  const candles = await candlePlace(sources, id);
  // Outputs are committed together with the position. So outputs read after the position include those of all earlier records.
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
      const outcome = outcomes.get(offset) as ChangeOutcome;
      const found = {
        ...outcome,
        candles: revisions.get(offset) ?? [],
        archive: located.get(offset) as ChangeLocation,
      };
      return { ...viewOf(change, partition), ...found, repeats: repeats.get(offset) ?? null };
    }),
    anomalies,
  };
}

function viewOf(
  { offset, source, texts, before, schemaId, redriven }: TracedChange,
  partition: number,
): Omit<ChangeTrace, 'repeats' | 'archive' | 'candles' | keyof ChangeOutcome> {
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

/** The columns whose values differ in the row before the change, with those values. */
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

/** The fields of a change that a candle depends on. */
function stepOf(
  { offset, texts, before, redriven }: TracedChange,
  outcome: ChangeOutcome | undefined,
  processor: string,
): WindowChange {
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

/** A late record with REVISED needs its revision: the one whose input ends with the change. */
function checkRevised(
  trail: Trail,
  id: TradeId,
  outcomes: ReadonlyMap<bigint, ChangeOutcome>,
  taken: ReadonlyMap<string, WindowMembership>,
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

/** Notes a history that does not begin with a creation. */
function incomplete(trail: Trail, changes: readonly TracedChange[], partition: number): void {
  const [first] = changes;
  const op = first?.texts['_op'];
  if (first !== undefined && op !== 'c' && op !== 'r') {
    trail.gone(
      `the first change that was found is ${op === 'u' ? 'an update' : 'a delete'}, at ${tradesTopic}/${partition} offset ${first.offset}: earlier changes are not in the searched range`,
    );
  }
}

/** The earliest in milliseconds; undefined if one is unknown. @param unit of the times, per millisecond; 1000 for microseconds */
function least(times: readonly (bigint | undefined)[], unit = 1000n): bigint | undefined {
  let found: bigint | undefined;
  for (const time of times) {
    if (time === undefined) return undefined;
    if (found === undefined || time < found) found = time;
  }
  return found === undefined ? undefined : found / unit;
}
