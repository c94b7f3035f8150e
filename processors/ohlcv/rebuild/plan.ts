import { MillraceError } from '../../../core/base/errors.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { RebuildOrder } from '../../../schemas/gen/rebuild_order.ts';
import { trades } from '../../trade-change.ts';
import { rebuilds } from '../ohlcv.ts';
import { type OhlcvSettings, toRules } from '../settings.ts';
import { type RefusedChanges, readInput, readRefusedOffsets } from './input.ts';
import { read, type Sources } from './reading.ts';
import { type CommittedState, readStanding } from './standing.ts';
import { readPublished, readTouched, type Scope, type Touched, type TouchedSymbol } from './touched.ts';

/** Limit of candles in one order. */
const windowsPerOrder = 500;
/**
 * Limit of trades in one order, because the task holds them in memory. A trade counts once for each of its candles. A candle with more
 * trades has its own order.
 */
const tradesPerOrder = 200_000;

export interface PlanOptions extends Sources {
  readonly settings: OhlcvSettings;
  readonly scope: Scope;
  /** Called with the number of input records read so far, and the number of offsets to read. */
  readonly onProgress?: (records: number, offsets: number) => void;
}

/** A candle of the plan. */
export interface PlannedCandle {
  readonly interval: string;
  /** Start of the window, microseconds. */
  readonly windowStart: bigint;
  /** Newest published revision; 0 for a candle that was never published. */
  readonly revision: number;
  /** Trade count of the published candle. */
  readonly trades: number;
  /** Trades of the candle in the log. */
  readonly tradesInLog: number;
  /** Changes that the candle does not contain. */
  readonly notApplied: number;
}

export interface PlannedSymbol {
  readonly venue: string;
  readonly symbol: string;
  readonly partition: number;
  readonly candles: readonly PlannedCandle[];
  /** Candles with unapplied changes that are not frozen yet; a later rebuild can include them. */
  readonly notFrozen: number;
  /** Candles whose input was partly deleted from the log: they stay as they are. `trades` is the least number of missing trades. */
  readonly incomplete: { readonly candles: number; readonly trades: number };
}

export interface RebuildPlan {
  readonly symbols: readonly PlannedSymbol[];
  readonly orders: readonly Omit<RebuildOrder, 'ordered_at'>[];
  /** Earlier orders that the tasks have not taken yet. */
  readonly pending: number;
  /** Input offsets that the tasks have not read yet; changes in them are not planned. */
  readonly behind: bigint;
}

/**
 * Plans a rebuild: every frozen candle in scope with an unapplied change. Changes nothing. Memory grows with the candles, not with the
 * trades. Reads the late topic, the candles, and the input of the partitions concerned.
 *
 * The order of reading makes the plan correct beside a running task. A window frozen in the committed state stays frozen. The position is
 * read after that state, so the input before it is complete. The candles are read last, so they have the newest revision.
 *
 * @throws MillraceError CONFIG_INVALID: gap filling is set.
 * @throws errors of the log and the registry
 */
export async function planRebuild(options: PlanOptions): Promise<RebuildPlan> {
  const { log, settings, scope } = options;
  const rules = toRules(settings);
  if (rules.fill > 0) {
    throw new MillraceError('CONFIG_INVALID', 'candles cannot be rebuilt while ohlcv.fillMs fills gaps', {
      remedy: 'load the history under a venue name of its own: docs/how-to/processing/rebuild-candles.md',
    });
  }
  const [starts, ends] = await Promise.all([log.starts(trades.topic), log.ends(trades.topic)]);
  const standings: CommittedState[] = [];
  for (const partition of ends.keys()) standings.push(await readStanding(options, partition, rebuilds.topic));
  const committed = new Map(
    (await log.committed(groupOf('ohlcv'), trades.topic)).map(({ partition, offset }) => [partition, offset]),
  );
  const touched = await readTouched(options, scope, rules.plan, committed);
  await readPublished(options, touched);
  const refusedOffsets = await readRefusedOffsets(options);
  const symbols: PlannedSymbol[] = [];
  const orders: Omit<RebuildOrder, 'ordered_at'>[] = [];
  const concerned = new Set([...touched.symbols.values()].map(({ partition }) => partition));
  let offsets = 0;
  for (const partition of concerned) offsets += Number((committed.get(partition) ?? 0n) - (starts[partition] ?? 0n));
  let records = 0;
  for (const [partition, standing] of standings.entries()) {
    const position = committed.get(partition) ?? 0n;
    const of = [...touched.symbols.values()].filter((each) => each.partition === partition && each.windows.size > 0);
    const notFrozen = new Map(of.map((each) => [each.key, takeNotFrozen(each, standing)]));
    if (of.length === 0) continue;
    const refused = await readInput(options, touched, refusedOffsets.get(partition) ?? new Set(), {
      partition,
      to: position,
      onRead: (more) => {
        records += more;
        options.onProgress?.(records, offsets);
      },
    });
    for (const each of of) {
      const incomplete = takeIncomplete(each, starts[partition] ?? 0n);
      const windows = [...each.windows.values()].sort((a, b) => a.start - b.start || a.end - b.end);
      orders.push(...ordersOf(each, windows, refused.get(each.key), position));
      const { venue, symbol } = each;
      const candles = windows.map(planned);
      symbols.push({ venue, symbol, partition, candles, notFrozen: notFrozen.get(each.key) ?? 0, incomplete });
    }
  }
  let behind = 0n;
  for (const [partition, end] of ends.entries()) behind += end - (committed.get(partition) ?? starts[partition] ?? 0n);
  return { symbols, orders, pending: await pendingOrders(options, standings), behind };
}

/** Removes candles that are not frozen. Returns how many were removed. */
function takeNotFrozen({ key, windows }: TouchedSymbol, { frozen }: CommittedState): number {
  const until = frozen.get(key) ?? Number.NEGATIVE_INFINITY;
  let count = 0;
  for (const [at, { end }] of windows) {
    if (end <= until) continue;
    windows.delete(at);
    count++;
  }
  return count;
}

/** Removes candles whose input was partly deleted from the log. */
function takeIncomplete({ windows }: TouchedSymbol, start: bigint): PlannedSymbol['incomplete'] {
  const gone = { candles: 0, trades: 0 };
  for (const [at, { publishedFrom, firstOffset, published, found }] of windows) {
    if (firstOffset >= start && (publishedFrom ?? start) >= start) continue;
    windows.delete(at);
    gone.candles++;
    gone.trades += Math.max(1, published - found);
  }
  return gone;
}

function* ordersOf(
  { venue, symbol, partition }: TouchedSymbol,
  windows: readonly Touched[],
  refused: RefusedChanges | undefined,
  position: bigint,
): Generator<Omit<RebuildOrder, 'ordered_at'>> {
  for (const some of portions(windows)) {
    let [{ from, to }] = some as [Touched, ...Touched[]];
    for (const window of some) {
      if (window.from < from) from = window.from;
      if (window.to > to) to = window.to;
    }
    // After a refused change, a trade may leave a candle by a change that does not name the candle.
    if (refused?.corrections === true) to = position - 1n;
    yield {
      venue,
      symbol,
      partition,
      from_offset: from,
      to_offset: to + 1n,
      refused: (refused?.offsets ?? []).filter((offset) => offset >= from && offset <= to),
      windows: some.map(({ interval, start, revision }) => ({ interval, window_start: BigInt(start), revision })),
    };
  }
}

function* portions(windows: readonly Touched[]): Generator<readonly Touched[]> {
  let some: Touched[] = [];
  let trades = 0;
  for (const window of windows) {
    const tooMuch = some.length === windowsPerOrder || trades + window.found > tradesPerOrder;
    if (tooMuch && some.length > 0) {
      yield some;
      [some, trades] = [[], 0];
    }
    some.push(window);
    trades += window.found;
  }
  if (some.length > 0) yield some;
}

function planned({ interval, start, revision, published, found, notApplied }: Touched): PlannedCandle {
  return { interval, windowStart: BigInt(start), revision, trades: published, tradesInLog: found, notApplied };
}

async function pendingOrders(sources: Sources, standings: readonly CommittedState[]): Promise<number> {
  let pending = 0;
  for await (const portion of read<RebuildOrder>(sources, rebuilds.topic, contracts.rebuild_order)) {
    for (const { record, value } of portion) {
      if (record.offset >= (standings[value.partition]?.ordersTaken ?? 0n)) pending++;
    }
  }
  return pending;
}
