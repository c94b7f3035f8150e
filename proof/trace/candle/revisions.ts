import { isError } from '../../../core/base/errors.ts';
import { partitionOf } from '../../../core/capture/routing.ts';
import { resolveTopic } from '../../../core/operations/aliases.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import { find } from '../find.ts';
import { madeWith, type WindowMembership, windowKey } from '../row/membership.ts';
import { type RecordPosition, since } from '../row/outcomes.ts';
import type { TraceSources, TradeId } from '../sources.ts';
import type { Trail } from '../trail.ts';

export const candlesTopic = 'market.candles';

/** One published revision of a candle. */
export interface RevisionView extends RecordPosition {
  readonly status: Candle['status'];
  readonly revision: number;
  readonly reason: Candle['reason'];
  /** Offsets of its input, both inclusive; null without input. */
  readonly input: { readonly from: bigint; readonly to: bigint } | null;
  /** Log time that triggered it, milliseconds. */
  readonly logTime: bigint;
}

/** Summary of a candle's PARTIAL revisions, which may be thousands. */
export interface Partials {
  count: number;
  readonly first: RevisionView;
  last: RevisionView;
}

/**
 * The revisions of one candle that hold a change as the newest of its trade. For a change that removed the trade, the first revision
 * without it.
 */
export interface WindowTrace {
  readonly interval: string;
  readonly windowStart: bigint;
  readonly windowEnd: bigint | null;
  /** True: the trade is in the candle with this change. False: this change removed it. */
  readonly holds: boolean;
  partials: Partials | null;
  /** All other revisions, in order; at most `maxRevisions`, the newest. */
  readonly revisions: RevisionView[];
  omitted: number;
}

export const maxRevisions = 100;

/** The topic of candles: behind the alias, if there is one. */
export async function candlePlace(
  { log, schemas }: TraceSources,
  { venue, symbol }: Pick<TradeId, 'venue' | 'symbol'>,
): Promise<{ readonly topic: string; readonly partition: number; readonly processor: string }> {
  const topic = await resolved(log, schemas);
  const suffix = topic.slice(candlesTopic.length + 1);
  return {
    topic,
    partition: partitionOf([venue, symbol], (await log.ends(topic)).length),
    processor: suffix === '' ? 'ohlcv' : `ohlcv-${suffix}`,
  };
}

/** A log of an earlier release has no aliases. */
async function resolved(log: TraceSources['log'], schemas: TraceSources['schemas']): Promise<string> {
  try {
    return await resolveTopic(log, schemas, candlesTopic);
  } catch (error) {
    if (isError(error, 'TOPIC_MISSING')) return candlesTopic;
    throw error;
  }
}

/** By `windowKey`, the last input offset of the rebuilt windows. */
export async function findRebuilt(
  sources: TraceSources,
  trail: Trail,
  id: TradeId,
  windows: ReadonlySet<string>,
  at: { readonly topic: string; readonly partition: number; readonly since: bigint | undefined },
): Promise<ReadonlyMap<string, bigint>> {
  const rebuilt = new Map<string, bigint>();
  if (windows.size === 0) return rebuilt;
  const where = await since(sources, at.topic, at, at.since);
  const wanted = { reader: contracts.candle, bytes: [Buffer.from(id.symbol), Buffer.from(id.venue)] };
  for await (const { value: candle, searched } of find<Candle>(sources, trail, where, wanted)) {
    if (candle.venue !== id.venue || candle.symbol !== id.symbol || candle.provenance === null) continue;
    const key = windowKey(candle.interval, candle.window_start);
    if (candle.reason !== 'REBUILT' || !windows.has(key)) continue;
    searched.found++;
    rebuilt.set(key, candle.provenance.to_offset);
  }
  return rebuilt;
}

/** The candles that took these changes, by the offset of the change that each revision was made with. */
export async function findRevisions(
  sources: TraceSources,
  trail: Trail,
  id: TradeId,
  taken: ReadonlyMap<string, WindowMembership>,
  at: {
    readonly topic: string;
    readonly partition: number;
    readonly since: bigint | undefined;
    /** A revision whose input reaches this offset is newer than the known changes. */
    readonly before: bigint;
  },
): Promise<ReadonlyMap<bigint, readonly WindowTrace[]>> {
  const traces = new Map<bigint, Map<string, WindowTrace>>();
  for (const window of taken.values()) for (const change of window.changes) trace(traces, window, change);
  if (taken.size === 0) return new Map();
  const where = await since(sources, at.topic, at, at.since);
  const wanted = { reader: contracts.candle, bytes: [Buffer.from(id.symbol), Buffer.from(id.venue)] };
  for await (const { record, value: candle, searched } of find<Candle>(sources, trail, where, wanted)) {
    if (candle.venue !== id.venue || candle.symbol !== id.symbol) continue;
    const window = taken.get(windowKey(candle.interval, candle.window_start));
    const view = revisionOf(
      candle,
      { topic: at.topic, partition: at.partition, offset: record.offset },
      record.timestamp,
    );
    if (window === undefined || view.input === null || view.input.to >= at.before) continue;
    const change = madeWith(window, view.input);
    if (change === undefined) continue;
    if (!change.covered) {
      if (change.holds) {
        trail.difference(
          `${nameOf(candle)} revision ${candle.revision} begins at offset ${view.input.from}, though the trade joined at ${change.offset}`,
        );
      }
      continue;
    }
    const kept = trace(traces, window, change);
    // After the revision that removed the trade, later ones do not concern it.
    if (!change.holds && (kept.revisions.length > 0 || kept.partials !== null)) continue;
    searched.found++;
    add(kept, view, candle.window_end);
  }
  return new Map([...traces].map(([offset, windows]) => [offset, [...windows.values()]]));
}

export function revisionOf(candle: Candle, place: RecordPosition, logTime: bigint): RevisionView {
  const { status, revision, reason, provenance } = candle;
  const input = provenance === null ? null : { from: provenance.from_offset, to: provenance.to_offset };
  return { ...place, status, revision, reason, input, logTime };
}

export function nameOf({
  venue,
  symbol,
  interval,
  window_start,
}: Pick<Candle, 'venue' | 'symbol' | 'interval' | 'window_start'>): string {
  return `${venue} ${symbol} ${interval} ${formatTimestamp(window_start)}`;
}

/** The trace of a change's window, created at its first use. */
function trace(
  traces: Map<bigint, Map<string, WindowTrace>>,
  { interval, start }: WindowMembership,
  { offset, holds }: { readonly offset: bigint; readonly holds: boolean },
): WindowTrace {
  const windows = traces.get(offset) ?? new Map<string, WindowTrace>();
  traces.set(offset, windows);
  const key = windowKey(interval, start);
  const found = windows.get(key) ?? {
    interval,
    windowStart: start,
    windowEnd: null,
    holds,
    partials: null,
    revisions: [],
    omitted: 0,
  };
  windows.set(key, found);
  return found;
}

function add(window: WindowTrace, view: RevisionView, end: bigint): void {
  Object.assign(window, { windowEnd: end });
  collect(window, view);
}

/** Keeps a revision: the first and last of the PARTIAL ones, and the newest of the others. */
export function collect(
  into: { partials: Partials | null; readonly revisions: RevisionView[]; omitted: number },
  view: RevisionView,
): void {
  if (view.status === 'PARTIAL') {
    if (into.partials === null) into.partials = { count: 1, first: view, last: view };
    else {
      into.partials.count++;
      into.partials.last = view;
    }
    return;
  }
  into.revisions.push(view);
  if (into.revisions.length > maxRevisions) {
    into.revisions.shift();
    into.omitted++;
  }
}
