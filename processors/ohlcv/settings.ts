import { MillraceError } from '../../core/base/errors.ts';
import { CalendarWindows, calendar } from '../../core/processor/calendars/calendar.ts';
import { Plan } from '../../core/processor/windows/plan.ts';
import { parseWindows } from '../../core/processor/windows/windows.ts';

export interface OhlcvSettings {
  /**
   * Window names: lengths that divide a day (`1m`), lengths with a step for overlapping windows (`5m/1m`), and `session` for the trading
   * sessions of the venue's calendar.
   */
  readonly intervals: readonly string[];
  /** Calendar by venue, for `session`: `XNYS`, `24x7`, `24x7:Europe/Berlin`. Default: `24x7`, days in UTC. */
  readonly calendars?: Readonly<Record<string, string>>;
  /** Watermark delay, milliseconds: a trade up to this much behind its symbol's greatest event time still joins its candle. */
  readonly watermarkDelayMs: number;
  /**
   * Allowed lateness, milliseconds: candles whose end is up to this much behind the watermark can still be revised. Default 0: no
   * revisions.
   */
  readonly allowedLatenessMs?: number;
  /** Limit by which an event time may exceed its record's log time, milliseconds. Beyond it the record is a dead letter. */
  readonly maxFutureSkewMs: number;
  /** Interval of PARTIAL candles in log time, milliseconds; 0 for none. */
  readonly partialMs: number;
  /** Time after a symbol's last trade in which empty windows are FILLED, milliseconds. Default 0: no filling. */
  readonly fillMs?: number;
}

/** Settings in the form of the fold, in microseconds. */
export interface Rules {
  /** Windows of a venue; equal windows are the same object. */
  readonly plan: (venue: string) => Plan;
  readonly watermarkDelay: number;
  readonly allowedLateness: number;
  readonly maxFutureSkew: number;
  readonly partial: number;
  readonly fill: number;
  /** Longest time after a trade's commit in which the trade may be needed, in a feed that keeps pace with log time. */
  readonly memory: number;
}

const SESSION = 'session';

/** @throws MillraceError CONFIG_INVALID: names the setting. */
export function toRules(settings: OhlcvSettings): Rules {
  const { intervals, calendars = {}, allowedLatenessMs = 0, fillMs = 0 } = settings;
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
    watermarkDelay: toMicros('watermarkDelayMs', settings.watermarkDelayMs),
    allowedLateness: toMicros('allowedLatenessMs', allowedLatenessMs),
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
    memory: 2 * longest + rules.watermarkDelay + rules.allowedLateness + rules.maxFutureSkew,
  });
}

/** Limit of one year: the sums for a watermark stay exact. */
function toMicros(name: string, ms: number): number {
  if (!Number.isInteger(ms) || ms < 0 || ms > 366 * 86_400_000) {
    throw invalid(`${name} has to be a whole number of milliseconds from 0 to a year, not ${ms}`);
  }
  return ms * 1000;
}

function invalid(message: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `ohlcv: ${message}`);
}
