import { MillraceError } from '../../core/base/errors.ts';
import { CalendarWindows, calendar } from '../../core/processor/calendars/calendar.ts';
import { Plan } from '../../core/processor/windows/plan.ts';
import { parseWindows } from '../../core/processor/windows/windows.ts';

export interface OhlcvSettings {
  /**
   * Windows: lengths that divide a day (`1m`), lengths with a step for overlapping ones (`5m/1m`), and `session` for the trading sessions of
   * the venue's calendar.
   */
  readonly intervals: readonly string[];
  /** The calendar of a venue, for `session`: `XNYS`, `24x7`, `24x7:Europe/Berlin`. Default: `24x7`, days in UTC. */
  readonly calendars?: Readonly<Record<string, string>>;
  /** How far a trade may be behind its symbol's greatest event time and still join its candle, milliseconds. */
  readonly latenessMs: number;
  /** How far the end of a candle may be behind the watermark and still be revised, milliseconds. 0 revises nothing. Default 0. */
  readonly horizonMs?: number;
  /** How far an event time may exceed the log time of its own record, milliseconds; beyond it the record is a dead letter. */
  readonly maxFutureSkewMs: number;
  /** Cadence of PARTIAL candles in log time, milliseconds; 0 emits none. */
  readonly partialMs: number;
  /** How long after a symbol's last trade windows without trades are FILLED, milliseconds; 0 fills none. Default 0. */
  readonly fillMs?: number;
}

/** Settings as the fold takes them: microseconds. */
export interface Rules {
  /** The windows of a venue; the same object for the same windows. */
  readonly plan: (venue: string) => Plan;
  readonly lateness: number;
  readonly horizon: number;
  readonly maxFutureSkew: number;
  readonly partial: number;
  readonly fill: number;
  /** Longest time from a trade's commit until nothing asks for it any more, in a feed that keeps pace with log time. */
  readonly memory: number;
}

const SESSION = 'session';

/** @throws MillraceError CONFIG_INVALID naming the setting. */
export function toRules(settings: OhlcvSettings): Rules {
  const { intervals, calendars = {}, horizonMs = 0, fillMs = 0 } = settings;
  const fixed = intervals.filter((name) => name !== SESSION).map(parseWindows);
  const withSessions = fixed.length < intervals.length;
  const make = (name: string) =>
    new Plan(withSessions ? [...fixed, new CalendarWindows(SESSION, calendar(name))] : fixed);
  const usual = make('24x7');
  const plans = new Map<string, Plan>([['24x7', usual]]);
  const venues = new Map<string, Plan>();
  for (const [venue, name] of Object.entries(calendars)) {
    const plan = plans.get(name) ?? make(name);
    plans.set(name, plan);
    venues.set(venue, plan);
  }
  const rules = {
    lateness: toMicros('latenessMs', settings.latenessMs),
    horizon: toMicros('horizonMs', horizonMs),
    maxFutureSkew: toMicros('maxFutureSkewMs', settings.maxFutureSkewMs),
    partial: toMicros('partialMs', settings.partialMs),
    fill: toMicros('fillMs', fillMs),
  };
  const longest = Math.max(
    ...[...plans.values()].flatMap(({ levels }) => levels.map(({ windows }) => windows.longest)),
  );
  return Object.freeze({
    ...rules,
    plan: (venue: string) => venues.get(venue) ?? usual,
    memory: 2 * longest + rules.lateness + rules.horizon + rules.maxFutureSkew,
  });
}

/** A year at most: the sums that a watermark is made of stay exact. */
function toMicros(name: string, ms: number): number {
  if (!Number.isInteger(ms) || ms < 0 || ms > 366 * 86_400_000) {
    throw invalid(`${name} has to be a whole number of milliseconds from 0 to a year, not ${ms}`);
  }
  return ms * 1000;
}

function invalid(message: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `ohlcv: ${message}`);
}
