import { DAY, formatTimestamp, parseTimestamp } from '../../core/values/time.ts';

/** A UTC day, `YYYY-MM-DD`, as microseconds from its first instant to that of the next one. @throws MillraceError BAD_RECORD */
export function dayRange(day: string): { readonly from: bigint; readonly to: bigint } {
  const from = parseTimestamp(`${day}T00:00:00Z`);
  return { from, to: from + DAY };
}

/** An SQL condition of Postgres: the instant is on the day. Without a day it always holds. */
export function onDay(instant: string, day: string | undefined): string {
  if (day === undefined) return 'true';
  const { from, to } = dayRange(day);
  return `(${instant} >= '${formatTimestamp(from)}' AND ${instant} < '${formatTimestamp(to)}')`;
}
