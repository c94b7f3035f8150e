import type { Log, TopicPartition } from '../../log/log.ts';
import type { StoreDefinition } from '../../processor/define.ts';
import type { Disk, DiskOperation, Disks } from '../stores/disk.ts';
import { ValueCodec } from '../stores/value.ts';
import { type Barrier, findBarrier } from './changelog.ts';

/** Where a process keeps its local copies. */
export interface StateDirectory {
  readonly path: string;
  /** The cluster's id: offsets of another cluster mean nothing here. */
  readonly epoch: string;
  readonly disks: Disks;
}

/**
 * Tombstones are compacted away after a day (Kafka's `delete.retention.ms`). A copy that has not seen the changelog for longer may have entries
 * whose tombstones are gone: it is rebuilt. With a margin for the restore itself.
 */
const longestAbsenceMs = 20 * 3_600_000;
const metaKey = 'm';
const format = 1;

interface Meta {
  readonly format: number;
  readonly epoch: string;
  readonly changelog: string;
  readonly partition: number;
  readonly stores: string;
  /** All committed entries before this changelog offset are in the copy, and nothing else is. */
  readonly position: string;
  /** A barrier that the changelog has if it is the same one: its offset and timestamp. */
  readonly barrier: { readonly offset: string; readonly timestamp: string };
  readonly savedMs: number;
  readonly sizes: Readonly<Record<string, number>>;
}

export interface CopyOptions extends TopicPartition {
  readonly directory: StateDirectory;
  readonly path: string;
  readonly definitions: readonly StoreDefinition<never>[];
  readonly log: Log;
  /** The one that this owner has just written. */
  readonly barrier: Barrier;
  readonly nowMs: number;
}

/**
 * A copy of a task's changelog in a database of this machine, up to a position that is committed: what is not committed is never in it, so that
 * a restore can go on from there, whatever happened since. It is a cache: lost or refused, it is made anew from the changelog.
 */
export class LocalCopy {
  readonly disk: Disk;
  /** Where the restore goes on; undefined: from the beginning. */
  readonly position: bigint | undefined;
  readonly sizes: Readonly<Record<string, number>>;
  /** Why it had to be made anew; undefined if it did not. */
  readonly rebuilt: string | undefined;
  readonly #meta: Omit<Meta, 'position' | 'savedMs' | 'sizes'>;

  private constructor(disk: Disk, meta: Omit<Meta, 'position' | 'savedMs' | 'sizes'>, known: Meta | string) {
    this.disk = disk;
    this.#meta = meta;
    const usable = typeof known !== 'string';
    this.position = usable ? BigInt(known.position) : undefined;
    this.sizes = usable ? known.sizes : {};
    this.rebuilt = usable ? undefined : known;
  }

  /** @throws MillraceError STATE_DISK */
  static async open(options: CopyOptions): Promise<LocalCopy> {
    const { directory, path, topic, partition, definitions, barrier } = options;
    let disk = await directory.disks.open(path);
    try {
      const meta = {
        format,
        epoch: directory.epoch,
        changelog: topic,
        partition,
        stores: signatureOf(definitions),
        barrier: { offset: `${barrier.offset}`, timestamp: `${barrier.timestamp}` },
      };
      const known = await usable(disk, meta, options);
      if (typeof known === 'string') {
        await disk.close();
        await directory.disks.wipe(path);
        disk = await directory.disks.open(path);
      }
      return new LocalCopy(disk, meta, known);
    } catch (error) {
      await disk.close();
      throw error;
    }
  }

  /** Takes what is committed before `position`, in one atomic write. */
  async take(
    operations: readonly DiskOperation[],
    at: { readonly position: bigint; readonly sizes: Readonly<Record<string, number>>; readonly nowMs: number },
  ): Promise<void> {
    const meta: Meta = { ...this.#meta, position: `${at.position}`, savedMs: at.nowMs, sizes: at.sizes };
    await this.disk.write([...operations, { key: metaKey, value: Buffer.from(JSON.stringify(meta)) }]);
  }

  close(): Promise<void> {
    return this.disk.close();
  }
}

/** What the copy knows of itself, or why it cannot be used. */
async function usable(
  disk: Disk,
  now: Omit<Meta, 'position' | 'savedMs' | 'sizes'>,
  { log, topic, partition, barrier, nowMs }: CopyOptions,
): Promise<Meta | string> {
  const bytes = disk.getSync(metaKey);
  if (bytes === undefined) return 'there is none';
  const meta = parse(bytes);
  if (meta === undefined || meta.format !== format) return 'it is of another release';
  if (meta.epoch !== now.epoch) return 'it is of another cluster';
  if (meta.changelog !== topic || meta.partition !== partition) return `it is of ${meta.changelog}/${meta.partition}`;
  if (meta.stores !== now.stores) return 'the stores are declared differently now';
  const position = BigInt(meta.position);
  if (position > barrier.offset) return 'it is ahead of the changelog';
  const start = (await log.starts(topic))[partition] ?? 0n;
  if (position < start) return 'the changelog begins later';
  if (nowMs - meta.savedMs > longestAbsenceMs) return 'it is too old: tombstones that it has not seen may be gone';
  const known = { offset: BigInt(meta.barrier.offset), timestamp: BigInt(meta.barrier.timestamp) };
  if (!(await findBarrier(log, { topic, partition }, known))) return 'the changelog does not have its barrier';
  return meta;
}

function parse(bytes: Buffer): Meta | undefined {
  try {
    return JSON.parse(bytes.toString('utf8')) as Meta;
  } catch {
    return undefined;
  }
}

/** Differs when entries would be written, found or expired differently. */
function signatureOf(definitions: readonly StoreDefinition<never>[]): string {
  const each = definitions.map((definition) => {
    const { signature } = new ValueCodec(definition);
    const ttl = definition.ttlMs === undefined ? '' : ' ttl';
    return `${definition.name} ${signature}${ttl}${definition.disk === undefined ? '' : ' disk'}`;
  });
  return each.sort().join(', ');
}
