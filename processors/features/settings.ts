import { MillraceError } from '../../core/base/errors.ts';
import { tumbling } from '../../core/processor/windows/windows.ts';
import { parseInterval } from '../../core/values/time.ts';

export interface FeaturesSettings {
  /** Name of this definition, part of each row's key. Another cadence or other windows are another definition. */
  readonly set: string;
  /** Cadence of the rows in event time, e.g. `1m`. It has to divide a day; rows are at its multiples, UTC. */
  readonly step: string;
  /** Lengths of the rolling windows, e.g. `['1m', '1h']`: multiples of the step, at most 1440 steps. */
  readonly windows: readonly string[];
  /** Significant digits of a price bucket's edge: with 3, 97,345 is in the bucket from 97,300 and 0.52138 in the one from 0.521. */
  readonly profileDigits: number;
  /** How far event time has to be past a row's instant before the row is made, milliseconds. */
  readonly latenessMs: number;
  /** How far an event time may exceed the log time of its own record, milliseconds; beyond it the record is a dead letter. */
  readonly maxFutureSkewMs: number;
  /** How long after the first trade of a step its trades can be corrected, milliseconds of log time. */
  readonly horizonMs: number;
}

export interface RollingWindow {
  readonly name: string;
  /** Microseconds. */
  readonly length: number;
}

/** Settings as the fold takes them: microseconds. */
export interface Rules {
  readonly set: string;
  readonly stepName: string;
  readonly step: number;
  /** Shortest first. */
  readonly windows: readonly RollingWindow[];
  readonly longest: number;
  readonly digits: number;
  readonly lateness: number;
  readonly maxFutureSkew: number;
  readonly horizon: number;
}

const MOST_STEPS = 1440;

/** @throws MillraceError CONFIG_INVALID naming the setting. */
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
    lateness: toMicros('latenessMs', settings.latenessMs),
    maxFutureSkew: toMicros('maxFutureSkewMs', settings.maxFutureSkewMs),
    horizon: toMicros('horizonMs', settings.horizonMs),
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
  return new MillraceError('CONFIG_INVALID', `features: ${message}`);
}
