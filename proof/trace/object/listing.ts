import { type Listing as Listed, readListing } from '../../../core/archive/listing/objects.ts';
import type { RemovedObject } from '../../../core/archive/replacements.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { Files } from '../../archive/files.ts';
import type { TraceSources } from '../sources.ts';
import type { Trail } from '../trail.ts';

/** An object as described by its record in the archive's list. */
export interface ObjectView {
  readonly key: string;
  readonly url: string;
  readonly epoch: string;
  readonly topic: string;
  readonly partition: number;
  readonly day: string;
  /** The cut that made it: offsets `[from, to)` of all days together. */
  readonly cut: { readonly from: bigint; readonly to: bigint };
  /** Offsets of its own rows, both inclusive. */
  readonly offsets: { readonly first: bigint; readonly last: bigint };
  readonly rows: bigint;
  readonly bytes: bigint;
  readonly sha256: string;
  readonly rowHash: string;
  readonly schemaId: number;
  readonly writerVersion: number;
  /** Dead letters in the cut. */
  readonly deadLetters: bigint;
}

export function viewOf(bucket: string, object: ArchiveObject): ObjectView {
  const { key, epoch, topic, partition, day, rows, bytes, sha256 } = object;
  return {
    key,
    url: `s3://${bucket}/${key}`,
    epoch,
    topic,
    partition,
    day,
    cut: { from: object.from_offset, to: object.to_offset },
    offsets: { first: object.first_offset, last: object.last_offset },
    rows,
    bytes,
    sha256,
    rowHash: object.row_hash,
    schemaId: object.schema_id,
    writerVersion: object.writer_version,
    deadLetters: object.dead_letters,
  };
}

/** Listed objects of a topic. A partition's list is read once, at the first call. Objects are fetched one at a time. */
export class ObjectListing {
  readonly topic: ArchivedTopic;
  readonly #sources: TraceSources;
  readonly #trail: Trail;
  readonly #listed = new Map<number, Promise<Listed>>();

  constructor(sources: TraceSources, trail: Trail, topic: ArchivedTopic) {
    this.#sources = sources;
    this.#trail = trail;
    this.topic = topic;
  }

  /** The listed objects in offset order. */
  async of(partition: number): Promise<readonly ArchiveObject[]> {
    return [...(await this.#read(partition)).objects];
  }

  /** Expired objects. */
  async expired(partition: number): Promise<Iterable<ArchiveObject>> {
    return (await this.#read(partition)).expired;
  }

  /** Lost objects. */
  async lost(partition: number): Promise<readonly ArchiveObject[]> {
    return [...(await this.#read(partition)).lost];
  }

  /** The replacement that unlisted an object of a partition; undefined if there is none. */
  async replaced(partition: number, key: string): Promise<RemovedObject | undefined> {
    return (await this.#read(partition)).replaced.get(key);
  }

  #read(partition: number): Promise<Listed> {
    const { log, schemas, signal } = this.#sources;
    const found = this.#listed.get(partition) ?? readListing(log, schemas, this.topic, { partition }, signal);
    this.#listed.set(partition, found);
    return found;
  }

  /** Fetches one object and opens it in DuckDB. A missing object, or other bytes than its record says, is a difference. */
  async open(object: ArchiveObject): Promise<Files> {
    this.#sources.signal?.throwIfAborted();
    const files = await Files.download(this.#sources.store, this.topic, [object]);
    for (const what of files.differences.examples) this.#trail.difference(what);
    return files;
  }
}
