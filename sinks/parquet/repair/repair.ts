import { planOf } from '../../../core/archive/keys.ts';
import { type ListedObject, readListing } from '../../../core/archive/listing/objects.ts';
import { putOnce } from '../../../core/archive/s3/put-once.ts';
import type { ObjectStore } from '../../../core/archive/s3/store.ts';
import { buildOf, formOf } from '../../../core/archive/writing/writer.ts';
import { isError, type MillraceError } from '../../../core/base/errors.ts';
import { sha256Of } from '../../../core/values/sha256.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { type ObjectFinding, type RepairSources, stateOf, writtenObjects } from './examine.ts';
import { LogRebuild } from './rebuild.ts';

export interface RepairOptions extends RepairSources {
  /** The findings of `examine`. */
  readonly findings: readonly ObjectFinding[];
  /**
   * Rebuilds a compacted object from its inputs.
   *
   * @param inputs gives the inputs, undamaged
   * @throws MillraceError REPAIR_IMPOSSIBLE
   */
  readonly compacted: (object: ListedObject, inputs: Pick<ObjectStore, 'get'>) => Promise<Buffer>;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number; readonly key: string }) => void;
}

export interface RepairResult {
  readonly key: string;
  /** `good`: it was repaired meanwhile. `unlisted`: it was replaced meanwhile, and is not read any more. `lost`: it was given up. */
  readonly result: 'repaired' | 'good' | 'unlisted' | 'failed' | 'lost';
  /** Set if `result` is `failed`. */
  readonly error?: MillraceError;
}

/**
 * Restores objects byte for byte as their records say. A rebuilt object is compared with its record before the bucket is changed, and a
 * good object is never overwritten. It can be interrupted and run again at any time, also while the sink runs.
 *
 * @throws errors of the log and the store. An object that cannot be rebuilt is a result, not an error.
 */
export async function repair(options: RepairOptions): Promise<readonly RepairResult[]> {
  const { log, schemas, signal, findings, onProgress } = options;
  const listed = new Map<string, ListedObject>();
  for (const topic of new Set(findings.map(({ object }) => object.topic as ArchivedTopic))) {
    const own = new Map(findings.map(({ object }) => [object.key, object]));
    const days = new Set(findings.map(({ object }) => object.day));
    const { objects } = await readListing(log, schemas, topic, { days: (day) => days.has(day) }, signal);
    for (const object of objects) if (own.has(object.key)) listed.set(object.key, object);
  }
  const mender = new Mender(options);
  const outcomes: RepairResult[] = [];
  for (const [done, { object }] of findings.entries()) {
    signal.throwIfAborted();
    const { key } = object;
    onProgress?.({ done, total: findings.length, key });
    if (listed.get(key)?.sha256 === object.sha256) outcomes.push(await mender.mend(object));
    else outcomes.push({ key, result: 'unlisted' });
  }
  return outcomes;
}

/** The findings without any source, which stayed as they are. They can be given up. */
export function lostOf(findings: readonly ObjectFinding[], outcomes: readonly RepairResult[]): readonly ListedObject[] {
  const failed = new Set(outcomes.filter(({ result }) => result === 'failed').map(({ key }) => key));
  return findings.flatMap(({ object, source }) => (source === 'none' && failed.has(object.key) ? [object] : []));
}

class Mender {
  readonly #options: RepairOptions;
  readonly #log: LogRebuild;
  /** Objects that the sink listed for the last requested day. One day is cached, because findings come in key order. */
  #written: { readonly id: string; readonly objects: Promise<ReadonlyMap<string, ListedObject>> } | undefined;

  constructor(options: RepairOptions) {
    this.#options = options;
    this.#log = new LogRebuild(options);
  }

  async mend(object: ListedObject): Promise<RepairResult> {
    const { store, signal } = this.#options;
    const { key } = object;
    try {
      const bytes = await this.#bytesOf(object);
      const state = await stateOf(store, object, signal);
      if (state === 'good') return { key, result: 'good' };
      if (state === 'damaged') await store.remove([key], signal);
      const content = { rows: object.rows.toString(), 'row-hash': object.row_hash };
      const build = buildOf(formOf(object.writer_version));
      await putOnce(store, { key, bytes, sha256: object.sha256, content, build }, signal);
      return { key, result: 'repaired' };
    } catch (error) {
      if (!mayFail.some((code) => isError(error, code))) throw error;
      return { key, result: 'failed', error: error as MillraceError };
    }
  }

  async #bytesOf(object: ListedObject): Promise<Buffer> {
    if (planOf(object.key) === undefined) return this.#log.bytesOf(object);
    const { compacted } = this.#options;
    return compacted(object, { get: (key) => this.#input(object.topic as ArchivedTopic, object.day, key) });
  }

  /** A replaced object: from the bucket within the grace of readers, and after that from the log. */
  async #input(topic: ArchivedTopic, day: string, key: string) {
    const { store, signal } = this.#options;
    const id = `${topic}/${day}`;
    if (this.#written?.id !== id) this.#written = { id, objects: writtenObjects(this.#options, topic, day) };
    const object = (await this.#written.objects).get(key);
    const stored = await store.get(key, signal);
    if (object === undefined) return stored;
    const isGood = stored !== undefined && sha256Of(stored.bytes) === object.sha256;
    return isGood ? stored : { bytes: await this.#log.bytesOf(object), metadata: {} };
  }
}

/** Errors about a single object, which do not stop the others. */
const mayFail = ['REPAIR_IMPOSSIBLE', 'ARCHIVE_DAMAGED', 'COMPACTION_FAILED'] as const;
