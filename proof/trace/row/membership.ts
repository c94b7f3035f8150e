/**
 * Which windows a trade's changes were in, by the processor's own account. A change joins the windows of its event time and leaves those of the row
 * before it, except where the late topic says that it was not applied. Pure.
 */
import { formatTimestamp, parseTimestamp } from '../../../core/values/time.ts';
import { type CandleSettings, startsOf } from '../../reading/windows.ts';
import type { LedgerEntry, Refusal } from './outcomes.ts';

/** One change, as far as windows are concerned. */
export interface Step {
  readonly offset: bigint;
  readonly venue: string;
  /** Event time after the change, microseconds; null after a delete. */
  readonly after: bigint | null;
  /** Event time before it; null when there was no row, or nobody knows. */
  readonly before: bigint | null;
  /** It was sent again for another processor, which passes over it here. */
  readonly foreign: boolean;
  /** What the candle processor said of it. */
  readonly ledger: readonly LedgerEntry[];
  readonly refusals: readonly Refusal[];
}

/** What a window took of a trade's changes. */
export interface Taken {
  readonly interval: string;
  /** Microseconds. */
  readonly start: bigint;
  /** In offset order. `holds`: after this change the trade is in the window; otherwise it was taken out. */
  readonly changes: { readonly offset: bigint; readonly holds: boolean }[];
}

export function windowKey(interval: string, start: bigint): string {
  return `${interval} ${start}`;
}

/**
 * By `windowKey`.
 *
 * @param steps all changes of one trade, in offset order
 * @param rebuilt of candles that were rebuilt, the last offset of their input: up to there they hold what they had not taken before
 */
export function windowsTaken(
  steps: readonly Step[],
  settings: CandleSettings,
  rebuilt: ReadonlyMap<string, bigint> = new Map(),
): ReadonlyMap<string, Taken> {
  const taken = new Map<string, Taken>();
  // The first change that is known may be an update: then the row was somewhere before.
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

/** The windows that did not take the change, by `windowKey`. */
export function notApplied(ledger: readonly LedgerEntry[]): string[] {
  return ledger.flatMap(({ effect, interval, windowStart }) =>
    effect === 'NOT_APPLIED' && interval !== null && windowStart !== null ? [windowKey(interval, windowStart)] : [],
  );
}

/** Whether no candle took the change at all: refused, delivered twice, a snapshot's row, no difference, or meant for another processor. */
function isPassedOver({ ledger, refusals, foreign }: Step): boolean {
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

/** Which change of the trade a candle was made with: the newest one up to the end of its input. */
export function madeWith(
  { changes }: Taken,
  input: { readonly from: bigint; readonly to: bigint },
): { readonly offset: bigint; readonly holds: boolean; readonly covered: boolean } | undefined {
  const newest = changes.findLast(({ offset }) => offset <= input.to);
  return newest === undefined ? undefined : { ...newest, covered: newest.offset >= input.from };
}
