import { readDays } from '../../../core/archive/listing/days.ts';
import { parseManifest } from '../../../core/archive/manifest.ts';
import { isError } from '../../../core/base/errors.ts';
import { sha256Of } from '../../../core/values/sha256.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import type { TraceSources } from '../sources.ts';
import type { Trail } from '../trail.ts';

/** The newest manifest of an object's day, and the state of the day. */
export interface ManifestView {
  readonly number: number;
  readonly key: string;
  /** OPEN, COMPLETE or REOPENED, at this revision. */
  readonly state: ArchivePartition['state'];
  readonly revision: number;
  /** Whether the manifest lists the object. False is no difference, because manifests follow the list. */
  readonly lists: boolean;
}

/** Looks up objects in the manifests of their days. It reads the days once, and holds one manifest in memory. */
export class Manifests {
  readonly #sources: TraceSources;
  readonly #trail: Trail;
  #days: Promise<readonly ArchivePartition[]> | undefined;

  constructor(sources: TraceSources, trail: Trail) {
    this.#sources = sources;
    this.#trail = trail;
  }

  /** Null while the day has none. A missing or altered manifest, or one that contradicts the object, is a difference. */
  async of({ key, topic, day: name, sha256 }: ArchiveObject): Promise<ManifestView | null> {
    const days = await this.#read();
    const day = days.find((each) => each.topic === topic && each.day === name);
    if (day === undefined) return null;
    const { manifest: number, manifest_key, state, revision } = day;
    const view = { number, key: manifest_key, state, revision };
    const stored = await this.#sources.store.get(manifest_key, this.#sources.signal);
    if (stored === undefined) {
      this.#trail.difference(`${manifest_key} is the manifest of ${topic} ${name}, but not in the bucket`);
      return { ...view, lists: false };
    }
    const is = sha256Of(stored.bytes);
    if (is !== day.manifest_sha256) {
      this.#trail.difference(`${manifest_key} has SHA-256 ${is}, its record says ${day.manifest_sha256}`);
      return { ...view, lists: false };
    }
    const file = parseManifest(stored.bytes).files.find((each) => each.key === key);
    if (file === undefined) this.#trail.pending(`${key} is not in the newest manifest of its day yet: ${manifest_key}`);
    else if (file.sha256 !== sha256) {
      this.#trail.difference(`${key} has SHA-256 ${file.sha256} in ${manifest_key}, its record says ${sha256}`);
    }
    return { ...view, lists: file !== undefined };
  }

  /** A log of an earlier release has no manifests. */
  #read(): Promise<readonly ArchivePartition[]> {
    const { log, schemas, signal } = this.#sources;
    this.#days ??= readDays(log, schemas, signal).catch((error: unknown) => {
      if (isError(error, 'TOPIC_MISSING')) return [];
      throw error;
    });
    return this.#days;
  }
}
