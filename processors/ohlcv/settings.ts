import { MillraceError } from '../../core/errors.ts';
import { type Interval, toInterval } from '../../core/processor/window.ts';

export interface OhlcvSettings {
  /** Lengths of the windows, e.g. `['1m', '5m']`. Each has to divide a day. */
  readonly intervals: readonly string[];
  /** How far a trade may be behind its symbol's greatest event time and still join its candle, milliseconds. */
  readonly latenessMs: number;
  /** How far an event time may exceed the log time of its own record, milliseconds; beyond it the record is a dead letter. */
  readonly maxFutureSkewMs: number;
  /** Cadence of PARTIAL candles in log time, milliseconds; 0 emits none. */
  readonly partialMs: number;
}

/** Settings as the fold takes them: microseconds. */
export interface Rules {
  /** Shortest first. */
  readonly intervals: readonly Interval[];
  readonly lateness: number;
  readonly maxFutureSkew: number;
  readonly partial: number;
}

/** @throws MillraceError CONFIG_INVALID naming the setting. */
export function toRules(settings: OhlcvSettings): Rules {
  const intervals = settings.intervals.map(toInterval).sort((a, b) => a.micros - b.micros);
  if (intervals.length === 0) throw invalid('at least one interval is needed');
  if (new Set(intervals.map((interval) => interval.micros)).size !== intervals.length) {
    throw invalid(`two of the intervals ${settings.intervals.join(', ')} are the same length`);
  }
  return Object.freeze({
    intervals,
    lateness: toMicros('latenessMs', settings.latenessMs),
    maxFutureSkew: toMicros('maxFutureSkewMs', settings.maxFutureSkewMs),
    partial: toMicros('partialMs', settings.partialMs),
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
