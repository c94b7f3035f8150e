import { manifestKey, successKey } from '../../core/archive/keys.ts';
import {
  formatManifest,
  formatSuccess,
  lostRowsOf,
  type Manifest,
  type ManifestFile,
  manifestFormat,
  parseManifest,
  totalsOf,
  withObjects,
  withReplacements,
  writtenIn,
} from '../../core/archive/manifest.ts';
import { putOnce } from '../../core/archive/s3/put-once.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { sha256Of } from '../../core/values/sha256.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import type { ManifestPlan } from './plan.ts';
import type { DayChanges } from './topic-days.ts';

export interface DayWriterOptions {
  readonly store: ObjectStore;
  /** Normal prefix: empty or ending with a slash. */
  readonly prefix: string;
  readonly epoch: string;
  readonly signal: AbortSignal;
  /** The day's changes in the log before the offsets that its manifest covers. */
  readonly recall: (day: ArchivePartition) => Promise<DayChanges>;
  /** Keys of a day that were replaced before `end`. */
  readonly replacedIn: (topic: ArchivedTopic, day: string, end: bigint) => Promise<ReadonlySet<string>>;
  /** Called for an object that is listed already. */
  readonly onRepeated: (key: string) => void;
}

/**
 * Writes a day's manifests and marks into the bucket. Everything is a function of the arguments, so a repetition writes the same bytes.
 * Each file is created only if it is absent.
 *
 * @throws MillraceError S3_CONFLICT: other bytes are stored under the key. Errors of `ObjectStore`.
 */
export class DayWriter {
  readonly #options: DayWriterOptions;

  constructor(options: DayWriterOptions) {
    this.#options = options;
  }

  /**
   * Writes the next manifest of a day: the previous one with the step's changes. A complete day with only replaced files stays complete and
   * gets a new mark. A day that has lost rows is reopened, as after late rows. Returns the day's new state.
   */
  async list(
    topic: ArchivedTopic,
    day: string,
    before: ArchivePartition | undefined,
    changes: DayChanges,
    { ends: covers, replacements }: Pick<ManifestPlan, 'ends' | 'replacements'>,
  ): Promise<ArchivePartition> {
    const { prefix, epoch, onRepeated } = this.#options;
    const had = before === undefined ? [] : await this.#filesOf(before);
    const objects = await this.#notReplaced(topic, before, changes.objects, replacements);
    const files = withReplacements(withObjects(had, objects, onRepeated), changes.replacements);
    const number = (before?.manifest ?? 0) + 1;
    const lost = lostRowsOf(changes.replacements);
    const lostRows = (before?.lost_rows ?? 0n) + lost;
    const manifest: Manifest = { epoch, topic, day, number, covers, replacements, lostRows, files };
    const key = manifestKey({ prefix, epoch, topic, day }, number);
    const listed: ArchivePartition = {
      epoch,
      topic,
      day,
      ...standing(before, objects.length > 0 || lost > 0n, files.length === 0),
      manifest: number,
      manifest_key: key,
      manifest_sha256: await this.#put(key, formatManifest(manifest)),
      success_key: null,
      ...totalsOf(files),
      written: writtenIn(files),
      covers,
      replacements,
      lost_rows: lostRows,
      passed: null,
    };
    return listed.state === 'COMPLETE' ? this.complete(listed, before?.passed ?? 0n) : listed;
  }

  /** Marks a day as complete. Returns its new state. */
  async complete(before: ArchivePartition, passed: bigint): Promise<ArchivePartition> {
    const { prefix } = this.#options;
    const key = successKey({ prefix, ...before }, before.revision);
    const day: ArchivePartition = { ...before, state: 'COMPLETE', success_key: key, passed };
    await this.#put(key, formatSuccess(day));
    return day;
  }

  /** The files of a committed manifest. A missing manifest is rebuilt from the log. */
  async #filesOf(day: ArchivePartition): Promise<readonly ManifestFile[]> {
    const stored = await this.#options.store.get(day.manifest_key, this.#options.signal);
    if (stored !== undefined && sha256Of(stored.bytes) === day.manifest_sha256)
      return parseManifest(stored.bytes).files;
    const { epoch, topic, manifest: number, covers, replacements, lost_rows: lostRows } = day;
    const recalled = await this.#options.recall(day);
    const files = withReplacements(withObjects([], recalled.objects), recalled.replacements);
    const bytes = formatManifest({ epoch, topic, day: day.day, number, covers, replacements, lostRows, files });
    if (sha256Of(bytes) !== day.manifest_sha256) {
      throw new MillraceError(
        'S3_CONFLICT',
        `${day.manifest_key} differs from the committed manifest, and the log cannot produce it`,
        {
          remedy: 'see runbooks/errors/S3_CONFLICT.md',
        },
      );
    }
    await this.#put(day.manifest_key, bytes);
    return files;
  }

  /**
   * Removes objects that were replaced meanwhile: a record that the sink wrote twice must not list them again. Only a day that was revised,
   * or that lost rows, can have such objects.
   */
  async #notReplaced(
    topic: ArchivedTopic,
    before: ArchivePartition | undefined,
    objects: readonly ArchiveObject[],
    end: bigint,
  ): Promise<readonly ArchiveObject[]> {
    if (objects.length === 0 || before === undefined || (before.revision === 1 && before.lost_rows === 0n))
      return objects;
    const replaced = await this.#options.replacedIn(topic, before.day, end);
    return objects.filter(({ key }) => !replaced.has(key));
  }

  #put(key: string, bytes: Buffer): Promise<string> {
    return putDayFile(this.#options, key, bytes);
  }
}

/** Stores a manifest or a mark of success if it is absent. Returns the SHA-256. @throws as `putOnce` */
export async function putDayFile(
  { store, signal }: Pick<DayWriterOptions, 'store' | 'signal'>,
  key: string,
  bytes: Buffer,
): Promise<string> {
  const sha256 = sha256Of(bytes);
  // The content's identity is its own digest: only equal bytes are the same.
  const content = { digest: sha256 };
  await putOnce(store, { key, bytes, sha256, content, build: `manifest/${manifestFormat}` }, signal);
  return sha256;
}

/**
 * State and revision of a day with its next manifest. Each revision has one mark of success, so a new manifest of a complete day increments
 * the revision.
 */
function standing(
  before: ArchivePartition | undefined,
  hasNew: boolean,
  empty: boolean,
): Pick<ArchivePartition, 'state' | 'revision'> {
  if (before === undefined) return { state: 'OPEN', revision: 1 };
  const { state, revision } = before;
  if (state !== 'COMPLETE' && state !== 'EXPIRED') return { state, revision };
  if (hasNew) return { state: 'REOPENED', revision: revision + 1 };
  return { state: empty ? 'EXPIRED' : state, revision: revision + 1 };
}
