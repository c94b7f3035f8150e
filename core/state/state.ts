import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { OutRecord, Written } from '../log/log.ts';
import type { StoreDefinition } from '../processor/define.ts';
import type { Ownership } from '../runtime/handler.ts';
import {
  changelogTopic,
  type LoadPortion,
  type RestoreProgress,
  readTask,
  restore,
  type TaskState,
  taskRecord,
  writeBarrier,
} from './changelog/changelog.ts';
import { LocalCopy, type StateDirectory } from './changelog/local-copy.ts';
import { type Snapshotted, snapshotDue, snapshotRecords } from './changelog/snapshots.ts';
import { Stores } from './stores/stores.ts';

export interface StateOptions {
  readonly processor: string;
  readonly definitions: readonly StoreDefinition<never>[];
  readonly ownership: Ownership;
  readonly clock: Clock;
  /** Without one, stores that are declared to be on disk are in memory. */
  readonly directory?: StateDirectory | undefined;
  readonly onRestore?: ((event: RestoreEvent) => void) | undefined;
}

export type RestoreEvent =
  /** Once a second while it goes on. */
  | ({ readonly kind: 'restoring' } & RestoreProgress)
  /** `rebuilt`: why the local copy was made anew. */
  | { readonly kind: 'restored'; readonly records: number; readonly rebuilt: string | undefined };

const progressMs = 1_000;
/** Entries that one write of the local copy takes: what it reads before it must fit memory twice. */
const portionEntries = 5_000;
const taskEntry = 'dtask';

/**
 * The state of one task, for one ownership: restored from its changelog up to a barrier of its own, then written to it commit by commit.
 * With stores on disk it keeps a local copy of the changelog, which only ever gets what is committed.
 */
export class State implements AsyncDisposable {
  readonly stores: Stores;
  /** As committed by the earlier owner; undefined at the first start. */
  readonly task: TaskState | undefined;
  readonly #topic: string;
  readonly #partition: number;
  readonly #clock: Clock;
  readonly #copy: LocalCopy | undefined;
  #logTime: bigint;
  /** What the local copy is taking. */
  #taking: Promise<void> = Promise.resolve();
  #ended: Promise<void> | undefined;
  /** Task records that are taken and not committed, and how many changelog records each transaction has; the oldest first. */
  readonly #flying: { readonly task: Buffer | null; readonly records: number }[] = [];

  private constructor(options: StateOptions, stores: Stores, task: TaskState | undefined, copy: LocalCopy | undefined) {
    this.stores = stores;
    this.task = task;
    this.#topic = changelogTopic(options.processor);
    this.#partition = options.ownership.partition;
    this.#clock = options.clock;
    this.#copy = copy;
    this.#logTime = task?.logTime ?? 0n;
  }

  /**
   * Writes the barrier and restores. The previous owner must be fenced.
   *
   * @throws MillraceError STATE_CORRUPT, STATE_VERSION, STATE_DISK, and what the log throws.
   */
  static async open(options: StateOptions): Promise<State> {
    const { processor, definitions, ownership, clock, directory, onRestore } = options;
    const { log, writer, partition, signal } = ownership;
    const at = { topic: changelogTopic(processor), partition };
    const barrier = await writeBarrier(writer, at, clock.now());
    const onDisk = definitions.some(({ disk }) => disk !== undefined);
    const copy =
      directory === undefined || !onDisk
        ? undefined
        : await LocalCopy.open({
            ...at,
            directory,
            path: join(directory.path, processor, `${partition}`),
            definitions,
            log,
            barrier,
            nowMs: clock.now(),
          });
    try {
      const stores = new Stores(definitions, copy?.disk);
      const known = copy === undefined ? null : await fromCopy(copy, stores);
      const from = copy?.position ?? (await log.starts(at.topic))[partition] ?? 0n;
      const load = loader(stores, copy, clock);
      let toldMs = clock.now();
      const { task, records } = await restore(log, { ...at, from, to: barrier.offset }, load, {
        signal,
        onProgress: (progress) => {
          if (clock.now() - toldMs < progressMs) return;
          toldMs = clock.now();
          onRestore?.({ kind: 'restoring', ...progress });
        },
      });
      const newest = task === undefined ? known : task;
      await load([], barrier.offset, newest);
      onRestore?.({ kind: 'restored', records, rebuilt: copy?.rebuilt });
      const state = newest === null ? undefined : readTask(newest, ownership.topic);
      return new State(options, stores, state, copy);
    } catch (error) {
      await copy?.close();
      throw error;
    }
  }

  /** The records of a snapshot, when a day has begun since the last commit. To be asked before `take`, for the same commit. */
  snapshot(state: Omit<Snapshotted, 'stores' | 'partition'>): readonly OutRecord[] {
    if (!this.stores.inMemory || !snapshotDue(this.#logTime, state.task.logTime)) return [];
    return snapshotRecords({ ...state, stores: this.stores, partition: this.#partition });
  }

  /** The changelog records of a commit: all changes since the last call, and the task's own position. `committed` must follow. */
  take(task: TaskState, timestamp: bigint): OutRecord[] {
    const topic = this.#topic;
    const partition = this.#partition;
    const records: OutRecord[] = [];
    for (const { key, value } of this.stores.takeChanges()) records.push({ topic, partition, key, value, timestamp });
    this.#logTime = task.logTime;
    const record = taskRecord(topic, partition, task, timestamp);
    records.push(record);
    if (this.#copy !== undefined) this.#flying.push({ task: record.value, records: records.length });
    return records;
  }

  /** The oldest taken records are committed: the local copy may have them. @throws MillraceError STATE_DISK */
  async committed(written: readonly Written[]): Promise<void> {
    const copy = this.#copy;
    if (copy === undefined || this.#ended !== undefined) return;
    const base = written.find(({ topic, partition }) => topic === this.#topic && partition === this.#partition);
    const taken = this.#flying.shift();
    if (base === undefined || taken === undefined)
      throw new TypeError('nothing of the changelog was taken and written');
    const { operations, sizes } = this.stores.committing();
    this.#taking = copy.take([...operations, { key: taskEntry, value: taken.task }], {
      position: base.baseOffset + BigInt(taken.records),
      sizes,
      nowMs: this.#clock.now(),
    });
    await this.#taking;
    this.stores.committed();
  }

  /** Lets go of the local copy. What is committed later is not in it: the next owner takes it from the changelog. Idempotent. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    await this.#taking.catch(() => undefined);
    await this.#copy?.close();
  }
}

/** Loads into memory what the copy has of the stores in memory; tells the newest task record. */
async function fromCopy(copy: LocalCopy, stores: Stores): Promise<Buffer | null> {
  if (copy.position === undefined) return null;
  stores.resume(copy.sizes);
  for (const name of stores.names) {
    if (!stores.holds(name)) continue;
    const prefix = `d${name}\u0000`;
    for await (const [key, value] of copy.disk.range({ after: prefix, before: `${prefix}\u{10FFFF}` })) {
      stores.load(Buffer.from(key.slice(1), 'utf8'), value);
    }
  }
  return copy.disk.getSync(taskEntry) ?? null;
}

function loader(stores: Stores, copy: LocalCopy | undefined, clock: Clock): LoadPortion {
  if (copy === undefined) {
    return async (records) => {
      for (const { key, value, timestamp } of records) stores.load(key as Buffer, value, timestamp * 1000n);
    };
  }
  return async (records, next, task) => {
    let at = 0;
    do {
      const portion = records.slice(at, at + portionEntries).map(({ key, value, timestamp }) => ({
        ...stores.parse((key as Buffer).toString('utf8')),
        bytes: value,
        writtenAt: timestamp * 1000n,
      }));
      at += portionEntries;
      const { operations, sizes } = await stores.loading(portion);
      const position = records[at]?.offset ?? next;
      const taskOperations = task === undefined ? [] : [{ key: taskEntry, value: task }];
      await copy.take([...operations, ...taskOperations], { position, sizes, nowMs: clock.now() });
    } while (at < records.length);
  };
}
