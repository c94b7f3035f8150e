/** Waits for the end of a backfill and reports its progress. Debezium works on its own: to stop waiting does not stop the backfill. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { isRunning, traceCauses } from '../apply.ts';
import type { ConnectClient } from '../client.ts';
import { endOfWal } from '../recapture/wal.ts';
import { Notices } from './notices.ts';
import { Reads } from './reads.ts';
import { type Backfill, forget } from './signals.ts';

export interface FollowOptions {
  readonly db: Pick<Client, 'query'>;
  readonly log: Log;
  readonly schemas: Schemas;
  readonly client: Pick<ConnectClient, 'status' | 'unread'>;
  readonly connector: string;
  /** Prefix of the capture topics. */
  readonly prefix: string;
  readonly backfill: Backfill;
  /** Longest wait without a new row, milliseconds. Default 120,000. */
  readonly waitMs?: number;
  /**
   * Interval of requests to Kafka Connect while no rows arrive, milliseconds. Connect reads its whole offsets topic to answer. Default
   * 5,000.
   */
  readonly askMs?: number;
  /** Longest time for which the connector may be down, as during a restart, milliseconds. Default 30,000. */
  readonly downMs?: number;
  /** @param begun false until the connector reads the signal: it first reads the changes before it */
  readonly onProgress?: (rows: number, begun: boolean) => void;
  readonly signal?: AbortSignal;
}

export interface Followed {
  readonly result: 'completed' | 'stopped';
  /** Rows of the backfill in the log. */
  readonly captured: number;
}

const pollMs = 300;

/**
 * Follows a backfill to its end, then deletes its signal.
 *
 * @throws MillraceError BACKFILL_FAILED: Debezium could not read the table, or has abandoned the backfill.
 * @throws MillraceError CONNECTOR_FAILED: the connector does not run. The backfill continues when it runs again.
 * @throws MillraceError PIPELINE_STUCK: no row arrived within `waitMs`. The backfill may still continue.
 */
export async function followBackfill(options: FollowOptions): Promise<Followed> {
  const { db, log, schemas, prefix, backfill, signal, waitMs = 120_000, askMs = 5_000, downMs = 30_000 } = options;
  const notices = new Notices(log, schemas, `${prefix}.notifications`, backfill);
  const reads = new Reads(log, schemas, `${prefix}.${backfill.table}`, backfill.from);
  const end = await endOfWal(db);
  let [moved, asked, seen] = [performance.now(), performance.now(), ''];
  let downSince: number | undefined;
  for (;;) {
    // The end is read first: all rows before it are then in the log.
    let ending = await notices.ending(signal);
    const captured = await reads.count(signal);
    options.onProgress?.(captured, captured > 0 || notices.heard > 0);
    const now = performance.now();
    if (seen !== `${captured} ${notices.heard}`) [moved, seen] = [now, `${captured} ${notices.heard}`];
    const late = now - moved > waitMs;
    if (ending === undefined && (late || (now - moved > askMs && now - asked > askMs))) {
      asked = now;
      const down = await whyDown(options);
      downSince = down === undefined ? undefined : (downSince ?? now);
      if (down !== undefined && now - (downSince ?? now) >= downMs) throw down;
      // The backfill may have ended between the two requests.
      if (down === undefined && (await isGone(options, end, late)))
        ending = (await notices.ending(signal)) ?? { result: 'failed', status: 'GIVEN_UP' };
      if (ending !== undefined && ending.result !== 'failed') continue;
    }
    if (ending !== undefined) {
      await forget(db, backfill);
      if (ending.result === 'failed') throw failed(backfill, ending.status, captured);
      return { result: ending.result, captured };
    }
    if (late) throw stuck(backfill, captured, waitMs);
    await sleep(pollMs, undefined, signal === undefined ? {} : { signal });
  }
}

async function whyDown({ client, connector, signal }: FollowOptions): Promise<MillraceError | undefined> {
  try {
    await requireRunning(client, connector, signal);
    return undefined;
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
}

/** A recreated or recaptured connector has lost the backfill. After a restart, a position without tables means this only if it lasts. */
async function isGone(
  { client, connector, backfill, signal }: FollowOptions,
  end: bigint,
  forLong: boolean,
): Promise<boolean> {
  const { lsn, tables } = await client.unread(connector, signal);
  return lsn > end && (tables === undefined ? forLong : !tables.includes(backfill.table));
}

/** @throws MillraceError CONNECTOR_UNKNOWN, CONNECTOR_FAILED */
export async function requireRunning(
  client: Pick<ConnectClient, 'status'>,
  connector: string,
  signal?: AbortSignal,
): Promise<void> {
  const status = await client.status(connector, signal);
  if (status === undefined) {
    throw new MillraceError('CONNECTOR_UNKNOWN', `Kafka Connect has no connector ${connector}`, {
      remedy: 'Create it with `millrace connectors apply`.',
    });
  }
  if (isRunning(status)) return;
  const trace = status.trace ?? status.tasks.find((task) => task.trace !== undefined)?.trace;
  const why = trace === undefined ? '' : `: ${traceCauses(trace).at(-1)}`;
  throw new MillraceError('CONNECTOR_FAILED', `connector ${connector} does not run, it is ${status.state}${why}`, {
    remedy:
      'Look at `millrace connectors status`. A backfill that was under way goes on when the connector runs again; `millrace backfill` shows it.',
  });
}

const reasons: Readonly<Record<string, string>> = {
  GIVEN_UP:
    'the connector knows nothing of it any more: it was made anew, recaptured, or killed again before it had gone on',
  NO_PRIMARY_KEY: 'the table has no primary key',
  SKIPPED: 'Debezium passed over the table',
  SQL_EXCEPTION: 'Postgres refused what Debezium asked; `millrace logs connect` has its words',
  UNKNOWN_SCHEMA: 'Debezium does not know the table',
};

function failed({ table, id }: Backfill, status: string, captured: number): MillraceError {
  return new MillraceError(
    'BACKFILL_FAILED',
    `backfill of ${table} ended after ${captured} rows: ${reasons[status] ?? status} (${id})`,
    { remedy: 'Remove the cause, then start the backfill again: rows already captured do no harm.' },
  );
}

function stuck({ table, rows }: Backfill, captured: number, waitMs: number): MillraceError {
  return new MillraceError(
    'PIPELINE_STUCK',
    `backfill of ${table}: nothing new for ${waitMs / 1000} s, ${captured} rows of ${rows}`,
    { remedy: 'It goes on by itself: look again with `millrace backfill`, or end it with `millrace backfill --stop`.' },
  );
}
