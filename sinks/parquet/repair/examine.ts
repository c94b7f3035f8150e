import { dayOfKey, planOf } from '../../../core/archive/keys.ts';
import { type ListedObject, readListing, readObjects } from '../../../core/archive/listing/objects.ts';
import { ObjectTable } from '../../../core/archive/listing/table.ts';
import type { ObjectStore } from '../../../core/archive/s3/store.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import { mapConcurrently } from '../../../core/base/map-concurrently.ts';
import type { Log } from '../../../core/log/log.ts';
import { sha256Of } from '../../../core/values/sha256.ts';
import { type ArchivedTopic, objectsTopic } from '../../../schemas/topics.ts';

export interface RepairSources {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
}

export interface ExamineOptions extends RepairSources {
  readonly topics: readonly ArchivedTopic[];
  /** Only objects of this day, `YYYY-MM-DD`. */
  readonly day?: string | undefined;
  /** Only objects with these keys. */
  readonly keys?: ReadonlySet<string> | undefined;
  /** The inputs of the compaction that wrote this object; undefined if the log has no plan for it. */
  readonly compactedOf: (object: ListedObject) => Promise<readonly ListedObject[] | undefined>;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number; readonly bad: number }) => void;
}

/** A listed object that the bucket lacks, or has with other bytes than its record says. */
export interface ObjectFinding {
  readonly object: ListedObject;
  readonly state: 'missing' | 'damaged';
  /** What can produce it again: the log, the inputs of its compaction, or nothing. */
  readonly source: 'log' | 'compaction' | 'none';
  /** The missing thing, if `source` is `none`. */
  readonly why?: string;
}

export interface Examined {
  readonly objects: number;
  readonly bytes: bigint;
  readonly findings: readonly ObjectFinding[];
}

/** Whole objects in memory at once. */
const concurrency = 4;

/**
 * Reads every listed object and compares it with its record. Changes nothing.
 *
 * @throws as `listObjects`, and errors of `ObjectStore`.
 */
export async function examine(options: ExamineOptions): Promise<Examined> {
  const { log, schemas, store, signal, topics, day, keys, onProgress } = options;
  const wanted = new ObjectTable();
  let bytes = 0n;
  const ofKeys = keys === undefined ? undefined : new Set([...keys].map(dayOfKey));
  const days = (each: string): boolean => (day === undefined || each === day) && ofKeys?.has(each) !== false;
  const range = day === undefined && keys === undefined ? {} : { days };
  for (const topic of topics) {
    for (const object of (await readListing(log, schemas, topic, range, signal)).objects) {
      if (keys?.has(object.key) === false) continue;
      wanted.add(object);
      bytes += object.bytes;
    }
  }
  const bad: { readonly object: ListedObject; readonly state: ObjectFinding['state'] }[] = [];
  let done = 0;
  await mapConcurrently(wanted, concurrency, async (object) => {
    signal.throwIfAborted();
    const state = await stateOf(store, object, signal);
    if (state !== 'good') bad.push({ object, state });
    onProgress?.({ done: ++done, total: wanted.length, bad: bad.length });
  });
  const origins = new Origins(options);
  const findings: ObjectFinding[] = [];
  for (const each of bad.sort((a, b) => (a.object.key < b.object.key ? -1 : 1))) {
    findings.push({ ...each, ...(await origins.of(each.object)) });
  }
  return { objects: wanted.length, bytes, findings };
}

export async function stateOf(
  store: Pick<ObjectStore, 'get'>,
  { key, sha256 }: ListedObject,
  signal: AbortSignal,
): Promise<'good' | ObjectFinding['state']> {
  const stored = await store.get(key, signal);
  if (stored === undefined) return 'missing';
  return sha256Of(stored.bytes) === sha256 ? 'good' : 'damaged';
}

/** Finds the sources that can produce an object again. */
class Origins {
  readonly #sources: Omit<ExamineOptions, 'topics'>;
  readonly #starts = new Map<string, Promise<readonly bigint[]>>();

  constructor(sources: Omit<ExamineOptions, 'topics'>) {
    this.#sources = sources;
  }

  async of(object: ListedObject): Promise<Pick<ObjectFinding, 'source' | 'why'>> {
    if (planOf(object.key) === undefined) return this.#inLog(object);
    const { compactedOf, store, signal } = this.#sources;
    const inputs = await compactedOf(object);
    if (inputs === undefined) return { source: 'none', why: 'archive.replacements has no plan for it' };
    for (const input of inputs) {
      if ((await stateOf(store, input, signal)) === 'good') continue;
      const { source, why } = await this.of(input);
      if (source === 'none') return { source, why: `of what was compacted ${input.key} is gone, and ${why}` };
    }
    return { source: 'compaction' };
  }

  async #inLog(object: ListedObject): Promise<Pick<ObjectFinding, 'source' | 'why'>> {
    const { topic, partition, first_offset, last_offset } = object;
    let starts = this.#starts.get(topic);
    if (starts === undefined) {
      starts = this.#sources.log.starts(topic);
      this.#starts.set(topic, starts);
    }
    const start = (await starts)[partition] ?? 0n;
    if (start <= first_offset) return { source: 'log' };
    const why = `${topic}/${partition} is kept from offset ${start} on, and its rows are of ${first_offset} to ${last_offset}`;
    return { source: 'none', why };
  }
}

/** Every object of a day that the sink ever listed, by key, replaced ones included. */
export async function writtenObjects(
  { log, schemas, signal }: RepairSources,
  topic: ArchivedTopic,
  day: string,
): Promise<ReadonlyMap<string, ListedObject>> {
  const name = objectsTopic(topic);
  const [from, to] = await Promise.all([log.starts(name), log.ends(name)]);
  const written = new Map<string, ListedObject>();
  const range = { from, to, days: (each: string) => each === day };
  for await (const { records } of readObjects(log, schemas, topic, range, signal)) {
    for (const { object } of records) written.set(object.key, object);
  }
  return written;
}
