import { type Client, DatabaseError } from 'pg';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';
import type { HeartbeatChange } from '../../schemas/gen/heartbeat_change.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';

export interface MarkerOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  /** The capture topic of the heartbeat row. */
  readonly topic: string;
  /** The marker is a change after this LSN. */
  readonly after: bigint;
  /** Topics of captured rows. */
  readonly rows: readonly string[];
  /** Called whenever new records have come through the capture. */
  readonly onProgress: () => void;
  readonly signal: AbortSignal;
}

/**
 * Commits a change of the heartbeat row, and waits for such a change with an LSN after `after` in the topic. Capture publishes in commit
 * order. So everything committed before `after` is then in its topics, below their ends.
 *
 * Any such change will do, and the connector makes one each second. Without the right to write, the function waits for that one.
 *
 * @param db not the connection with the snapshot, because the marker has to be committed at once
 * @throws the signal's reason if the change has not arrived by then
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
      // A row that a snapshot of the connector read says nothing about commit order.
      if (op !== 'u' || source.lsn === null) continue;
      if (source.lsn >= after) return;
      if (source.lsn > newest) onProgress();
      newest = source.lsn;
    }
  }
}

/** Number of offsets that the topics have ever assigned. */
async function count(log: Log, topics: readonly string[]): Promise<bigint> {
  const ends = await Promise.all(topics.map((topic) => log.ends(topic)));
  return ends.flat().reduce((sum, end) => sum + end, 0n);
}

async function mark(db: Client): Promise<void> {
  try {
    await db.query('UPDATE public.heartbeat SET beat = beat + 1, at = clock_timestamp() WHERE id = 1');
  } catch (error) {
    // No right to write, or a read-only database.
    if (!(error instanceof DatabaseError) || (error.code !== '42501' && error.code !== '25006')) throw error;
  }
}
