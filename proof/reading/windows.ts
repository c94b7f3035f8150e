import type { Client } from 'pg';
import { type Calendar, calendar } from '../../core/processor/calendars/calendar.ts';
import { formatTimestamp, parseInterval, parseTimestamp } from '../../core/values/time.ts';
import { type CopyValue, copyRows } from './copy.ts';

/** The configuration of candles. */
export interface CandleSettings {
  readonly intervals: readonly string[];
  /** By venue, for the interval `session`. Default: `24x7`. */
  readonly calendars?: Readonly<Record<string, string>>;
  /** Time after the last trade in which empty windows are FILLED, milliseconds. Default 0: none is filled. */
  readonly fillMs?: number;
}

const session = 'session';
const usual = '24x7';

/** Length and step of an interval's windows, microseconds; undefined for sessions. */
function shape(interval: string): { readonly size: bigint; readonly every: bigint } | undefined {
  if (interval === session) return undefined;
  const [size = '', every = size] = interval.split('/');
  return { size: parseInterval(size), every: parseInterval(every) };
}

/** SQL of a table (window_start, window_end): the windows of the row `of`, which has `venue` and `executed_at`. */
export function windowsOf(interval: string, of: string): string {
  const found = shape(interval);
  if (found === undefined) {
    return `(SELECT s.window_start, s.window_end FROM sessions s
       WHERE s.calendar = coalesce((SELECT calendar FROM venue_calendars v WHERE v.venue = ${of}.venue), '${usual}')
         AND s.window_start <= ${of}.executed_at AND ${of}.executed_at < s.window_end)`;
  }
  const { size, every } = found;
  const latest = `date_bin('${every} microseconds', ${of}.executed_at, timestamptz '1970-01-01 00:00:00Z')`;
  // Without a set-returning function, Postgres can inline the subquery.
  if (size === every)
    return `(SELECT ${latest} AS window_start, ${latest} + interval '${size} microseconds' AS window_end)`;
  const start = `${latest} - n * interval '${every} microseconds'`;
  return `(SELECT ${start} AS window_start, ${start} + interval '${size} microseconds' AS window_end FROM generate_series(0, ${size / every - 1n}) n)`;
}

/** Creates the tables of sessions that `windowsOf` needs, for the existing trades. */
export async function loadSessions(db: Client, { intervals, calendars = {} }: CandleSettings): Promise<void> {
  await db.query(`CREATE TEMP TABLE sessions (calendar text, window_start timestamptz, window_end timestamptz);
    CREATE TEMP TABLE venue_calendars (venue text, calendar text)`);
  if (!intervals.includes(session)) return;
  const { rows } = await db.query<{ from: number | null; to: number | null }>(
    `SELECT extract(year FROM min(executed_at))::int AS from, extract(year FROM max(executed_at))::int AS to FROM public.trades`,
  );
  const { from, to } = rows[0] ?? {};
  if (from === undefined || to === undefined || from === null || to === null) return;
  async function* all(): AsyncGenerator<CopyValue[][]> {
    for (const name of new Set([usual, ...Object.values(calendars)])) {
      // Local years: the days around New Year have another year in UTC.
      for (let year = (from ?? 0) - 1; year <= (to ?? 0) + 1; year++) {
        const sessions = calendar(name).sessions(year);
        yield sessions.map(({ start, end }) => [name, formatTimestamp(BigInt(start)), formatTimestamp(BigInt(end))]);
      }
    }
  }
  await copyRows(db, 'sessions', all());
  async function* venues(): AsyncGenerator<CopyValue[][]> {
    yield Object.entries(calendars);
  }
  await copyRows(db, 'venue_calendars', venues());
  await db.query('CREATE INDEX ON sessions (calendar, window_start); ANALYZE sessions');
}

const cache = new Map<string, Calendar>();

function known(name: string): Calendar {
  const found = cache.get(name) ?? calendar(name);
  cache.set(name, found);
  return found;
}

/** Starts of the windows that hold a row, as text. Equal to `windowsOf`. */
export function startsOf(
  interval: string,
  row: { readonly venue: string; readonly executed_at: string },
  calendars: Readonly<Record<string, string>> = {},
): string[] {
  const at = parseTimestamp(row.executed_at);
  const found = shape(interval);
  if (found === undefined) {
    const open = known(calendars[row.venue] ?? usual).at(Number(at));
    return open === undefined ? [] : [formatTimestamp(BigInt(open.start))];
  }
  const { size, every } = found;
  const into = at % every;
  const starts: string[] = [];
  for (let start = at - (into < 0n ? into + every : into); start > at - size; start -= every) {
    starts.push(formatTimestamp(start));
  }
  return starts;
}
