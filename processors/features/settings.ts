import { MillraceError } from '../../core/base/errors.ts';
import { tumbling } from '../../core/processor/windows/windows.ts';
import { parseInterval } from '../../core/values/time.ts';

export interface FeaturesSettings {
  /** Name of this definition, part of each row's key. Another step or other windows need another name. */
  readonly set: string;
  /** Distance of the rows in event time, e.g. `1m`. It must divide a day; rows are at its multiples, UTC. */
  readonly step: string;
  /** Lengths of the rolling windows, e.g. `['1m', '1h']`: multiples of the step, at most 1440 steps. */
  readonly windows: readonly string[];
  /** Significant digits of a price bucket's edge: with 3, 97,345 is in the bucket from 97,300 and 0.52138 in the one from 0.521. */
  readonly profileDigits: number;
  /** Time by which event time must have passed a row's instant before the row is computed, milliseconds. */
  readonly watermarkDelayMs: number;
  /** Limit by which an event time may exceed its record's log time, milliseconds. Beyond it the record is a dead letter. */
  readonly maxFutureSkewMs: number;
  /** Time after the first trade of a step in which its trades can be corrected, log time in milliseconds. */
  readonly allowedLatenessMs: number;
}

export interface RollingWindow {
  readonly name: string;
  /** Length, microseconds. */
  readonly length: number;
}

/** Settings in the form of the fold, in microseconds. */
export interface Rules {
  readonly set: string;
  readonly stepName: string;
  readonly step: number;
  /** Windows, shortest first. */
  readonly windows: readonly RollingWindow[];
  readonly longest: number;
  readonly digits: number;
  readonly watermarkDelay: number;
  readonly maxFutureSkew: number;
  readonly allowedLateness: number;
}

const MOST_STEPS = 1440;

/** @throws MillraceError CONFIG_INVALID: names the setting. */
export function toRules(settings: FeaturesSettings): Rules {
  const { set, profileDigits: digits } = settings;
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/.test(set)) {
    throw invalid(`set has to be lower-case letters, digits, dots and dashes, not ${JSON.stringify(set)}`);
  }
  const { name: stepName, size: step } = tumbling(settings.step);
  const windows = settings.windows
    .map((name) => ({ name, length: Number(parseInterval(name)) }))
    .sort((a, b) => a.length - b.length);
  const longest = windows.at(-1)?.length;
  if (longest === undefined) throw invalid('at least one window is needed');
  for (const [at, { name, length }] of windows.entries()) {
    if (length % step !== 0) throw invalid(`window ${name} is no multiple of the step ${stepName}`);
    if (length / step > MOST_STEPS) throw invalid(`window ${name} has more than ${MOST_STEPS} steps of ${stepName}`);
    if (windows[at - 1]?.length === length) throw invalid(`windows ${windows[at - 1]?.name} and ${name} are the same`);
  }
  if (!Number.isInteger(digits) || digits < 1 || digits > 8) {
    throw invalid(`profileDigits has to be a whole number from 1 to 8, not ${digits}`);
  }
  return Object.freeze({
    set,
    stepName,
    step,
    windows,
    longest,
    digits,
    watermarkDelay: toMicros('watermarkDelayMs', settings.watermarkDelayMs),
    maxFutureSkew: toMicros('maxFutureSkewMs', settings.maxFutureSkewMs),
    allowedLateness: toMicros('allowedLatenessMs', settings.allowedLatenessMs),
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
  return new MillraceError('CONFIG_INVALID', `features: ${message}`);
}
