/**
 * The windows of a trade's changes, according to the processor's own records. A change joins the windows of its event time and leaves those
 * of the row before it, unless the late topic says that it was not applied. Pure.
 */
import { formatTimestamp, parseTimestamp } from '../../../core/values/time.ts';
import { type CandleSettings, startsOf } from '../../reading/windows.ts';
import type { LedgerEntry, TracedRefusal } from './outcomes.ts';

/** The fields of a change that concern windows. */
export interface WindowChange {
  readonly offset: bigint;
  readonly venue: string;
  /** Event time after the change, microseconds; null after a delete. */
  readonly after: bigint | null;
  /** Event time before it, microseconds; null if there was no row or it is unknown. */
  readonly before: bigint | null;
  /** It was redriven for another processor, so the candle processor skips it. */
  readonly foreign: boolean;
  /** The candle processor's late records about it. */
  readonly ledger: readonly LedgerEntry[];
  readonly refusals: readonly TracedRefusal[];
}

/** The changes of a trade that a window took. */
export interface WindowMembership {
  readonly interval: string;
  /** Microseconds. */
  readonly start: bigint;
  /** In offset order. `holds`: the trade is in the window after this change. Otherwise the change removed it. */
  readonly changes: { readonly offset: bigint; readonly holds: boolean }[];
}

export function windowKey(interval: string, start: bigint): string {
  return `${interval} ${start}`;
}

/**
 * The windows that took the changes, by `windowKey`.
 *
 * @param steps all changes of one trade, in offset order
 * @param rebuilt last input offset of each rebuilt candle: up to there it also holds changes that were not applied at first
 */
export function windowsTaken(
  steps: readonly WindowChange[],
  settings: CandleSettings,
  rebuilt: ReadonlyMap<string, bigint> = new Map(),
): ReadonlyMap<string, WindowMembership> {
  const taken = new Map<string, WindowMembership>();
  // The first known change may be an update, with an earlier row.
  let accepted = steps[0]?.before ?? null;
  for (const step of steps) {
    if (isPassedOver(step)) continue;
    const { offset, venue, after, ledger } = step;
    const skipped = new Set(notApplied(ledger).filter((key) => offset > (rebuilt.get(key) ?? -1n)));
    for (const interval of settings.intervals) {
      const left = startsAt(interval, venue, accepted, settings);
      const joined = startsAt(interval, venue, after, settings);
      for (const start of new Set([...left, ...joined])) {
        const key = windowKey(interval, start);
        if (skipped.has(key)) continue;
        const window = taken.get(key) ?? { interval, start, changes: [] };
        taken.set(key, window);
        window.changes.push({ offset, holds: joined.includes(start) });
      }
    }
    accepted = after;
  }
  return taken;
}

/** The windows to which the change was not applied, by `windowKey`. */
export function notApplied(ledger: readonly LedgerEntry[]): string[] {
  return ledger.flatMap(({ effect, interval, windowStart }) =>
    effect === 'NOT_APPLIED' && interval !== null && windowStart !== null ? [windowKey(interval, windowStart)] : [],
  );
}

/**
 * Whether no candle took the change: refused, delivered twice, a snapshot's row, without a difference, or redriven for another processor.
 */
function isPassedOver({ ledger, refusals, foreign }: WindowChange): boolean {
  return (
    foreign ||
    refusals.length > 0 ||
    ledger.some(({ interval, effect }) => interval === null && effect !== 'REVISED' && effect !== 'APPLIED')
  );
}

function startsAt(interval: string, venue: string, time: bigint | null, { calendars }: CandleSettings): bigint[] {
  if (time === null) return [];
  return startsOf(interval, { venue, executed_at: formatTimestamp(time) }, calendars).map(parseTimestamp);
}

/** The change of the trade that a candle was made with: the newest up to the end of its input. */
export function madeWith(
  { changes }: WindowMembership,
  input: { readonly from: bigint; readonly to: bigint },
): { readonly offset: bigint; readonly holds: boolean; readonly covered: boolean } | undefined {
  const newest = changes.findLast(({ offset }) => offset <= input.to);
  return newest === undefined ? undefined : { ...newest, covered: newest.offset >= input.from };
}
