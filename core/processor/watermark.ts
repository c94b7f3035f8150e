import { MillraceError } from '../base/errors.ts';

/**
 * How far event time has come, per key. The watermark is
 *
 *   greatest event time seen + (current log time − log time of that record) − allowed lateness
 *
 * so a quiet key's windows close after as much log time as they have left, a load of old data does not make itself late, and one
 * key's history never makes another's late. It never goes back: when a delayed record has the greatest event time but the formula
 * gives less than was reached before, the watermark stands still until the formula has caught up.
 *
 * Times are microseconds as numbers, which is exact to ±2^53 (the year 2255); `micros` refuses what is not. No wall clock in here.
 */
export interface Progress {
  /** Greatest event time seen. */
  max_event: number;
  /** Log time of the record that brought it. */
  max_log: number;
  /** The watermark that was reached before `max_event` was last raised: a lower bound. */
  floor: number;
  /** Allowed lateness by which `floor` and all decisions so far were made. */
  lateness: number;
}

/**
 * Log time since the record with a key's greatest event time after which the key leaves memory, if nothing of it is under way: 30 days, microseconds.
 * Sessions and patterns forget the key, so that it begins anew; windows keep its progress.
 */
export const forgetAfter = 30 * 86_400_000_000;

/** The log time at which a key with nothing under way is forgotten. */
export function forgottenAt(progress: Progress, forget: number): number {
  return progress.max_log + forget;
}

/** The progress of a key with its first record. Microseconds. */
export function startProgress(event: number, recordLog: number, lateness: number): Progress {
  return { max_event: event, max_log: recordLog, floor: Number.MIN_SAFE_INTEGER, lateness };
}

/** The watermark at a log time. Monotonic in `logTime`. */
export function watermarkAt(progress: Progress, logTime: number): number {
  const moving = progress.max_event + (logTime - progress.max_log) - progress.lateness;
  return Math.max(moving, progress.floor);
}

/**
 * Takes a record into account. True if it is the greatest event time now: deadlines have moved, in either direction.
 *
 * @param logTime the task's log time, which may be later than the record's own.
 */
export function observe(progress: Progress, event: number, recordLog: number, logTime: number): boolean {
  if (event <= progress.max_event) return false;
  const reached = progress.max_event + (logTime - progress.max_log) - progress.lateness;
  if (reached > progress.floor && reached > event + (logTime - recordLog) - progress.lateness) {
    progress.floor = reached;
  }
  progress.max_event = event;
  progress.max_log = recordLog;
  return true;
}

/** The log time at which the watermark reaches `time`, if nothing else arrives. In the past when it is there already. */
export function dueAt(progress: Progress, time: number): number {
  return time - progress.max_event + progress.lateness + progress.max_log;
}

/** Goes on with another allowed lateness, from what was reached with the old one. True if that changed anything. */
export function changeLateness(progress: Progress, lateness: number, logTime: number): boolean {
  if (progress.lateness === lateness) return false;
  progress.floor = watermarkAt(progress, logTime);
  progress.lateness = lateness;
  return true;
}

/** Microseconds as a number. @throws MillraceError BAD_RECORD beyond ±2^53. */
export function micros(time: bigint): number {
  const number = Number(time);
  if (!Number.isSafeInteger(number)) throw new MillraceError('BAD_RECORD', `${time} µs is beyond the year 2255`);
  return number;
}
