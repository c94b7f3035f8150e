import type { Clock } from '../../core/base/clock.ts';
import { connectPostgres, type Postgres } from '../../core/base/postgres.ts';
import { dropPartition, listPartitions, type Partition } from './partitions.ts';

const day = 86_400_000;
/** If a reader holds a partition for longer, the run fails and the next one finishes it. */
const lockTimeoutMs = 5_000;
/** A connection without an answer for this long is dead: dropping a table takes less. */
const answerTimeoutMs = 120_000;

/** Partitions that end before the last `days` days of event time, today included. With 0 none is expired. */
export function expired(partitions: readonly Partition[], days: number, nowMs: number): readonly Partition[] {
  if (days === 0) return [];
  const first = new Date(nowMs - (days - 1) * day).toISOString().slice(0, 10);
  return partitions.filter((partition) => partition.day < first);
}

/** Opens a connection for retention. @throws MillraceError POSTGRES_UNREACHABLE, POSTGRES_REFUSED */
export async function retentionClient(url: string, signal?: AbortSignal): Promise<Postgres> {
  const client = await connectPostgres({
    url,
    name: 'millrace hot-store retention',
    answerTimeoutMs,
    ...(signal === undefined ? {} : { signal }),
  });
  await client.query(`SET lock_timeout = ${lockTimeoutMs}`);
  return client;
}

export interface RetentionOptions {
  readonly url: string;
  /** Days to keep; 0 keeps all. */
  readonly days: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onDropped: (partition: Partition) => void;
  /** Called when a run fails. The next run does the rest. */
  readonly onError: (error: unknown) => void;
}

const everyMs = 3_600_000;

/** Drops expired partitions now and every hour, until the signal is aborted. */
export async function keepRetention(options: RetentionOptions): Promise<void> {
  const { url, days, clock, signal, onDropped, onError } = options;
  while (days > 0 && !signal.aborted) {
    try {
      await using client = await retentionClient(url, signal);
      for (const partition of expired(await listPartitions(client), days, clock.now())) {
        signal.throwIfAborted();
        await dropPartition(client, partition);
        onDropped(partition);
      }
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
    await clock.sleep(everyMs, signal);
  }
}
