import { dayOfKey, isSuccessKey, planOf, topicFolder } from '../../../core/archive/keys.ts';
import { readDays } from '../../../core/archive/listing/days.ts';
import { KeyMap } from '../../../core/archive/listing/key-map.ts';
import {
  endOfReplacements,
  type RemovedObject,
  type ReplacementHead,
  readReplacements,
  takesOff,
} from '../../../core/archive/replacements.ts';
import type { ObjectInfo, ObjectStore } from '../../../core/archive/s3/store.ts';
import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { pendingPlan } from '../plan/plan.ts';
import type { ArchiveSources } from '../sources.ts';

export interface SweepOptions extends ArchiveSources {
  /** Normal prefix: empty or ending with a slash. */
  readonly prefix: string;
  readonly epoch: string;
  /** The grace of readers: how long a reader of a list or a manifest may still read its files, milliseconds. */
  readonly readerGraceMs: number;
  /** Wall clock, milliseconds since 1970, comparable with the store's. */
  readonly now: () => number;
}

type StoredFile = Pick<ObjectInfo, 'key' | 'bytes'>;

export interface Sweepable {
  readonly topic: ArchivedTopic;
  /** Objects that can be removed now. */
  readonly removable: readonly StoredFile[];
  /** Replaced objects that a reader may still read, or that a manifest still lists. */
  readonly waiting: readonly StoredFile[];
}

/**
 * Finds stored objects that will never be listed again. A replaced object is removable when the newest manifest of its day omits it and is
 * older than the grace of readers. Leftovers of an abandoned plan are removable at once. Unlisted objects of the sink are left alone,
 * because their cut may be in progress.
 *
 * A replaced object is never listed again, and an ended plan never resumes. So the result stays valid however late the caller acts on it.
 * Changes nothing.
 */
export async function readSweepable(options: SweepOptions, topic: ArchivedTopic): Promise<Sweepable> {
  const { log, store, signal, prefix, epoch } = options;
  if ((await endOfReplacements(log)) === 0n) return { topic, removable: [], waiting: [] };
  // The bucket first: memory then holds the stored keys, not every key that was ever replaced.
  const stored = new KeyMap<number>();
  for await (const { key, bytes } of store.list(topicFolder({ prefix, epoch, topic }), signal)) {
    if (!isSuccessKey(key)) stored.set([key], bytes);
  }
  const end = await endOfReplacements(log);
  const pending = await pendingPlan(options);
  const { replaced, made } = await readReplaced(options, topic, stored);
  const manifests = new Manifests(options, topic);
  const removable: StoredFile[] = [];
  const waiting: StoredFile[] = [];
  const fileOf = (key: string): StoredFile => ({ key, bytes: stored.get(key) ?? 0 });
  for (const [key, by] of [...replaced].sort(([a], [b]) => (a < b ? -1 : 1))) {
    ((await manifests.haveOmitted(key, by.offset)) ? removable : waiting).push(fileOf(key));
  }
  for (const key of stored.keys()) {
    const plan = planOf(key);
    if (plan === undefined || plan >= end || plan === pending?.offset) continue;
    if (!replaced.has(key) && !made.has(key)) removable.push(fileOf(key));
  }
  return { topic, removable, waiting };
}

/** The stored objects that were replaced, and those that a compaction has listed. */
async function readReplaced({ log, schemas, signal }: ArchiveSources, topic: ArchivedTopic, stored: KeyMap<number>) {
  const replaced = new Map<string, RemovedObject>();
  const made = new Set<string>();
  const range = { from: 0n, to: await endOfReplacements(log) };
  const own = (head: ReplacementHead): boolean => head.topic === topic && takesOff(head) !== undefined;
  for await (const { offset, replacement } of readReplacements(log, schemas, range, signal, own)) {
    const kind = takesOff(replacement);
    if (kind === undefined) continue;
    for (const key of replacement.replaced) if (stored.has(key)) replaced.set(key, { kind, offset });
    for (const { key } of replacement.objects) if (stored.has(key)) made.add(key);
  }
  return { replaced, made };
}

/** Removes objects. An absent object is no error. */
export async function sweep(
  store: ObjectStore,
  objects: readonly StoredFile[],
  signal: AbortSignal,
  onProgress: (removed: number) => void = () => undefined,
): Promise<void> {
  for (let at = 0; at < objects.length; at += removeAtOnce) {
    signal.throwIfAborted();
    const keys = objects.slice(at, at + removeAtOnce).map(({ key }) => key);
    await store.remove(keys, signal);
    onProgress(at + keys.length);
  }
}

const removeAtOnce = 1_000;

/** Ages of the newest manifests of a topic's days. */
class Manifests {
  readonly #options: SweepOptions;
  readonly #topic: ArchivedTopic;
  readonly #ages = new Map<string, number>();
  #days: ReadonlyMap<string, ArchivePartition> | undefined;

  constructor(options: SweepOptions, topic: ArchivedTopic) {
    this.#options = options;
    this.#topic = topic;
  }

  /** Whether the day's newest manifest omits a replaced object, and is older than the grace of readers. */
  async haveOmitted(key: string, replacement: bigint): Promise<boolean> {
    const { readerGraceMs, store, signal, now } = this.#options;
    const day = (await this.#read()).get(dayOfKey(key));
    if (day === undefined || day.replacements <= replacement) return false;
    let age = this.#ages.get(day.day);
    if (age === undefined) {
      const manifest = await store.head(day.manifest_key, signal);
      // The next manifest replaces one that is gone.
      age = manifest === undefined ? Number.NEGATIVE_INFINITY : now() - manifest.modifiedMs;
      this.#ages.set(day.day, age);
    }
    return age >= readerGraceMs;
  }

  async #read(): Promise<ReadonlyMap<string, ArchivePartition>> {
    if (this.#days === undefined) {
      const { log, schemas, signal } = this.#options;
      const days = await readDays(log, schemas, signal);
      this.#days = new Map(days.filter(({ topic }) => topic === this.#topic).map((day) => [day.day, day]));
    }
    return this.#days;
  }
}
