import { isError } from '../../../core/base/errors.ts';
import { partitionOf } from '../../../core/capture/routing.ts';
import { resolveTopic } from '../../../core/operations/aliases.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import { find } from '../find.ts';
import { madeWith, type Taken, windowKey } from '../row/membership.ts';
import { type Placed, since } from '../row/outcomes.ts';
import type { TraceSources, TradeId } from '../sources.ts';
import type { Trail } from '../trail.ts';

export const candlesTopic = 'market.candles';

/** One emission of a candle. */
export interface RevisionView extends Placed {
  readonly status: Candle['status'];
  readonly revision: number;
  readonly reason: Candle['reason'];
  /** Offsets of its input, both inclusive. */
  readonly input: { readonly from: bigint; readonly to: bigint } | null;
  /** Log time that triggered it, milliseconds. */
  readonly logTime: bigint;
}

/** PARTIAL revisions of one candle, which may be thousands: what they come to. */
export interface Partials {
  count: number;
  readonly first: RevisionView;
  last: RevisionView;
}

/** The revisions of one candle that hold a change, as the newest of its trade; of a change that took it out, the first without it. */
export interface WindowTrace {
  readonly interval: string;
  readonly windowStart: bigint;
  readonly windowEnd: bigint | null;
  /** The trade is in the candle with this change; otherwise this change took it out. */
  readonly holds: boolean;
  partials: Partials | null;
  /** All others, in order; at most `maxRevisions`, the newest. */
  readonly revisions: RevisionView[];
  omitted: number;
}

export const maxRevisions = 100;

/** Where candles are read: behind the alias, if there is one. */
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

/** By `windowKey`, the last offset of the input of those windows that were rebuilt. */
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
  taken: ReadonlyMap<string, Taken>,
  at: {
    readonly topic: string;
    readonly partition: number;
    readonly since: bigint | undefined;
    /** Revisions whose input reaches this offset are younger than what is known of the changes. */
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
    // Of those that follow the one that took it out, the trade is no part.
    if (!change.holds && (kept.revisions.length > 0 || kept.partials !== null)) continue;
    searched.found++;
    add(kept, view, candle.window_end);
  }
  return new Map([...traces].map(([offset, windows]) => [offset, [...windows.values()]]));
}

export function revisionOf(candle: Candle, place: Placed, logTime: bigint): RevisionView {
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

/** The trace of a window that a change is in, made at its first use. */
function trace(
  traces: Map<bigint, Map<string, WindowTrace>>,
  { interval, start }: Taken,
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

/** Keeps a revision: PARTIAL ones as their first and last, of the others the newest. */
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
