import { type Client, DatabaseError } from 'pg';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';
import type { HeartbeatChange } from '../../schemas/gen/heartbeat_change.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';

export interface MarkerOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  /** The topic that the heartbeat row is captured to. */
  readonly topic: string;
  /** The marker is a change behind this place in the WAL. */
  readonly after: bigint;
  /** Topics that capture publishes rows to. */
  readonly rows: readonly string[];
  /** Told whenever something has come through capture that was not there before. */
  readonly onProgress: () => void;
  readonly signal: AbortSignal;
}

/**
 * Commits a change of the heartbeat row, and waits until one that was made after `after` has come through capture. Capture publishes in the
 * order of commits, so that everything which was committed before `after` is in its topics then: below their ends.
 *
 * Any such change will do. The connector makes one a second itself; who may not write here waits for that.
 *
 * @param db not the connection whose snapshot it is about: the marker has to be committed at once
 * @throws the signal's reason when it has not come by then
 */
export async function passMarker(db: Client, options: MarkerOptions): Promise<void> {
  const { log, schemas, topic, after, rows, onProgress, signal } = options;
  let [offset = 0n] = await log.ends(topic);
  let [newest, published] = [0n, await count(log, rows)];
  await mark(db);
  const decoder = new AvroDecoder<HeartbeatChange>(schemas, contracts.heartbeat_change);
  await using fetcher = log.fetcher();
  for (;;) {
    signal.throwIfAborted();
    const fetch = { maxWaitMs: 250, maxBytesPerPartition: 65_536, signal };
    const [fetched] = await fetcher.fetch([{ topic, partition: 0, offset }], fetch);
    const grown = await count(log, rows);
    if (grown > published) onProgress();
    published = grown;
    if (fetched === undefined) continue;
    offset = fetched.next;
    const missing = decoder.missing(fetched.records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    for (const { value } of fetched.records) {
      if (value === null) continue;
      const { op, source } = decoder.decode(value);
      // A row that a snapshot of the connector has read says nothing about the order of commits.
      if (op !== 'u' || source.lsn === null) continue;
      if (source.lsn >= after) return;
      if (source.lsn > newest) onProgress();
      newest = source.lsn;
    }
  }
}

/** Offsets that the topics have ever given out. */
async function count(log: Log, topics: readonly string[]): Promise<bigint> {
  const ends = await Promise.all(topics.map((topic) => log.ends(topic)));
  return ends.flat().reduce((sum, end) => sum + end, 0n);
}

async function mark(db: Client): Promise<void> {
  try {
    await db.query('UPDATE public.heartbeat SET beat = beat + 1, at = clock_timestamp() WHERE id = 1');
  } catch (error) {
    // No right to, or a database that only reads.
    if (!(error instanceof DatabaseError) || (error.code !== '42501' && error.code !== '25006')) throw error;
  }
}
