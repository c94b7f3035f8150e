import { redrivenOf } from '../../../core/log/redriven.ts';
import { formatDecimal, NOTIONAL_SCALE, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatLsn } from '../../../core/values/lsn.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { LateTrade } from '../../../schemas/gen/late_trade.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { tradesTopic } from '../../reading/topic.ts';
import { boundsOf, find } from '../find.ts';
import { ObjectListing } from '../object/listing.ts';
import { partitionOfTrade } from '../row/changes.ts';
import type { TraceSources } from '../sources.ts';
import { type SearchedRange, type TraceFinding, Trail } from '../trail.ts';
import { type Figures, type Input, Recompute, type TradeInside } from './recompute.ts';
import { candlePlace, collect, nameOf, type Partials, type RevisionView, revisionOf } from './revisions.ts';

/** The identity of a candle. */
export interface CandleId {
  readonly venue: string;
  readonly symbol: string;
  readonly interval: string;
  /** Microseconds. */
  readonly windowStart: bigint;
}

/** A candle, all its revisions, and its trades. */
export interface CandleTrace {
  readonly key: CandleId;
  readonly found: boolean;
  readonly partials: Partials | null;
  readonly revisions: readonly RevisionView[];
  readonly omitted: number;
  /** The examined revision: the newest, or the requested one. */
  readonly candle: Candle | null;
  readonly at: RevisionView | null;
  /** The input of the revision; null for a candle without input. */
  readonly input: InputTrace | null;
  readonly searched: readonly SearchedRange[];
  readonly findings: readonly TraceFinding[];
  readonly ok: boolean;
}

export interface InputTrace {
  readonly topic: string;
  readonly partition: number;
  /** Both inclusive. */
  readonly offsets: { readonly from: bigint; readonly to: bigint };
  readonly lsn: { readonly from: string; readonly to: string };
  /** The places that were read: `archive` for the part that the log has deleted. */
  readonly sources: readonly ('log' | 'archive')[];
  /** Changes of the symbol in the range, and those that were applied to this window. */
  readonly changes: bigint;
  readonly applied: bigint;
  /** In the order of the window, at most the requested number. */
  readonly trades: readonly TradeInside[];
  readonly tradeCount: bigint;
  /** Fields that a recomputation gives differently; empty if all are equal, null if the input is incomplete. */
  readonly different: readonly string[] | null;
}

export interface CandleTraceOptions {
  /** Default: the newest. */
  readonly revision?: number;
  /** Number of trades to list. */
  readonly trades: number;
}

/** Traces a candle back to its trades, and recomputes it from them. */
export async function traceCandle(
  sources: TraceSources,
  id: CandleId,
  options: CandleTraceOptions,
): Promise<CandleTrace> {
  const trail = new Trail();
  const place = await candlePlace(sources, id);
  const kept = { partials: null as Partials | null, revisions: [] as RevisionView[], omitted: 0 };
  let candle: Candle | null = null;
  let at: RevisionView | null = null;
  const wanted = { reader: contracts.candle, bytes: [Buffer.from(id.symbol), Buffer.from(id.venue)] };
  for await (const { record, value, searched } of find<Candle>(sources, trail, place, wanted)) {
    if (!isOf(value, id)) continue;
    searched.found++;
    const view = revisionOf(
      value,
      { topic: place.topic, partition: place.partition, offset: record.offset },
      record.timestamp,
    );
    const before = kept.revisions.at(-1) ?? kept.partials?.last;
    if (before !== undefined && view.revision <= before.revision) {
      trail.difference(
        `${nameOf(value)}: revision ${view.revision} at offset ${view.offset} follows revision ${before.revision}`,
      );
    }
    collect(kept, view);
    if (options.revision === undefined || options.revision === view.revision) [candle, at] = [value, view];
  }
  const input = candle === null ? null : await followInput(sources, trail, id, candle, place.processor, options.trades);
  return {
    key: id,
    found: at !== null,
    ...kept,
    candle,
    at,
    input,
    searched: trail.searched,
    findings: trail.findings,
    ok: trail.ok,
  };
}

function isOf(candle: Candle, { venue, symbol, interval, windowStart }: CandleId): boolean {
  return (
    candle.window_start === windowStart &&
    candle.interval === interval &&
    candle.symbol === symbol &&
    candle.venue === venue
  );
}

async function followInput(
  sources: TraceSources,
  trail: Trail,
  id: CandleId,
  candle: Candle,
  processor: string,
  limit: number,
): Promise<InputTrace | null> {
  const { provenance } = candle;
  if (provenance === null) return null;
  const partition = await partitionOfTrade(sources, id);
  const range = { from: provenance.from_offset, to: provenance.to_offset + 1n };
  const bounds = (await boundsOf(sources.log, tradesTopic, partition)) ?? { start: 0n, end: 0n };
  await using recompute = await Recompute.open();
  const isWhole = await fromArchive(sources, trail, id, partition, range, bounds.start, recompute);
  if (range.to > bounds.start) await fromLog(sources, trail, id, { partition, ...range }, processor, recompute);
  // A rebuilt candle holds all of its input, including changes that were not applied at first.
  const isRebuilt = candle.reason === 'REBUILT';
  await setAside(sources, trail, id, { partition, ...range, isRebuilt }, processor, recompute);
  await recompute.fold({ start: candle.window_start, end: candle.window_end });
  const figures = await recompute.figures();
  const { read, applied } = await recompute.counts();
  const different = isWhole ? compare(candle, figures) : null;
  const name = `${nameOf(candle)} revision ${candle.revision}`;
  for (const what of different ?? []) trail.difference(`${name}: ${what}`);
  const lsns = await recompute.lsns();
  if (lsns !== null && (lsns.first < provenance.from_lsn || lsns.last > provenance.to_lsn)) {
    trail.difference(
      `${name} says that its trades are of LSN ${formatLsn(provenance.from_lsn)} to ${formatLsn(provenance.to_lsn)}, and they are of ${formatLsn(lsns.first)} to ${formatLsn(lsns.last)}`,
    );
  }
  return {
    topic: tradesTopic,
    partition,
    offsets: { from: provenance.from_offset, to: provenance.to_offset },
    lsn: { from: formatLsn(provenance.from_lsn), to: formatLsn(provenance.to_lsn) },
    sources: [
      ...(range.from < bounds.start ? (['archive'] as const) : []),
      ...(range.to > bounds.start ? (['log'] as const) : []),
    ],
    changes: read,
    applied,
    trades: await recompute.trades(limit),
    tradeCount: figures?.trade_count ?? 0n,
    different,
  };
}

type InputRange = { readonly partition: number; readonly from: bigint; readonly to: bigint };

async function fromLog(
  sources: TraceSources,
  trail: Trail,
  id: CandleId,
  range: InputRange,
  processor: string,
  recompute: Recompute,
): Promise<void> {
  const wanted = { reader: contracts.trade_change, bytes: [Buffer.from(id.symbol), Buffer.from(id.venue)] };
  let inputs: Input[] = [];
  const where = { topic: tradesTopic, ...range, note: 'the input of the candle' };
  for await (const { record, value, searched } of find<TradeChange>(sources, trail, where, wanted)) {
    const { op, after, before, source } = value;
    const row = op === 'd' ? before : after;
    const redriven = redrivenOf(record.headers);
    if (row === null || row.venue !== id.venue || row.symbol !== id.symbol) continue;
    if (redriven !== undefined && redriven.processor !== processor) continue;
    searched.found++;
    inputs.push({ offset: record.offset, op, lsn: source.lsn, txId: source.txId, row });
    if (inputs.length < 10_000) continue;
    await recompute.add(inputs);
    inputs = [];
  }
  await recompute.add(inputs);
}

/** Adds the part of the input that the log has deleted. False if the archive does not hold all of it. */
async function fromArchive(
  sources: TraceSources,
  trail: Trail,
  { venue, symbol }: CandleId,
  partition: number,
  range: { readonly from: bigint; readonly to: bigint },
  start: bigint,
  recompute: Recompute,
): Promise<boolean> {
  const { from } = range;
  const to = range.to < start ? range.to : start;
  if (from >= to) return true;
  const listing = new ObjectListing(sources, trail, tradesTopic);
  const objects = (await listing.of(partition)).filter((each) => each.first_offset < to && each.last_offset >= from);
  const what = `archive of ${tradesTopic}/${partition}`;
  const searched = trail.search(what, { from, to }, `${objects.length} objects; the log begins at ${start}`);
  const holdsFirst = objects.some((each) => each.first_offset <= from && from <= each.last_offset);
  if (!holdsFirst)
    trail.gone(
      `${tradesTopic}/${partition} offset ${from}, where the candle begins, is neither in the log nor in the archive`,
    );
  let isWhole = holdsFirst;
  for (const [i, object] of objects.entries()) {
    sources.onProgress?.({ what, done: i, total: objects.length });
    await using files = await listing.open(object);
    searched.records += Number(object.rows);
    if (files.differences.count > 0) isWhole = false;
    else await recompute.addFile(files.pathOf(0), { venue, symbol, from, to });
  }
  return isWhole;
}

/** Leaves out changes that the processor refused, or did not apply to this window. */
async function setAside(
  sources: TraceSources,
  trail: Trail,
  id: CandleId,
  { partition, from, to, isRebuilt }: InputRange & { readonly isRebuilt: boolean },
  processor: string,
  recompute: Recompute,
): Promise<void> {
  const isInput = (origin: { topic: string; partition: number; offset: bigint }): boolean =>
    origin.topic === tradesTopic && origin.partition === partition && origin.offset >= from && origin.offset < to;
  const late = { reader: contracts.late_trade, bytes: [Buffer.from(id.symbol), Buffer.from(id.venue)] };
  for await (const { value, searched } of find<LateTrade>(
    sources,
    trail,
    { topic: `${processor}.late`, partition },
    late,
  )) {
    const { origin, effect, interval, window_start } = value;
    if (!isInput(origin) || effect === 'REVISED' || effect === 'APPLIED') continue;
    const isHere = interval === id.interval && window_start === id.windowStart;
    if (interval !== null && (!isHere || isRebuilt)) continue;
    searched.found++;
    await recompute.setAside(origin.offset, interval === null);
  }
  const dead = { reader: contracts.dead_letter, bytes: [] };
  for await (const { value, searched } of find<DeadLetter>(
    sources,
    trail,
    { topic: `${processor}.dead`, partition },
    dead,
  )) {
    if (!isInput(value.origin)) continue;
    searched.found++;
    await recompute.setAside(value.origin.offset, true);
  }
}

/** `high is 81000, recomputed 80500`, for each field that differs. */
export function compare(candle: Candle, figures: Figures | undefined): string[] {
  if (figures === undefined)
    return candle.trade_count === 0n ? [] : [`has ${candle.trade_count} trades, and its input has none`];
  return (Object.keys(figures) as (keyof Figures)[]).flatMap((field) =>
    candle[field] === figures[field]
      ? []
      : [`${field} is ${fieldText(field, candle[field])}, recomputed ${fieldText(field, figures[field])}`],
  );
}

export function fieldText(field: keyof Figures, value: bigint | string | null): string {
  if (value === null || typeof value === 'string') return String(value);
  if (field === 'trade_count') return value.toString();
  if (field.endsWith('_time')) return formatTimestamp(value);
  return formatDecimal(value, field === 'notional' ? NOTIONAL_SCALE : PRICE_SCALE);
}
