import { DAY, formatTimestamp, parseTimestamp } from '../../core/values/time.ts';

/** A UTC day, `YYYY-MM-DD`, as microseconds: its first instant, and the first of the next day. @throws MillraceError BAD_RECORD */
export function dayRange(day: string): { readonly from: bigint; readonly to: bigint } {
  const from = parseTimestamp(`${day}T00:00:00Z`);
  return { from, to: from + DAY };
}

/** An SQL condition for Postgres: the instant is on the day. Always true without a day. */
export function onDay(instant: string, day: string | undefined): string {
  if (day === undefined) return 'true';
  const { from, to } = dayRange(day);
  return `(${instant} >= '${formatTimestamp(from)}' AND ${instant} < '${formatTimestamp(to)}')`;
}
