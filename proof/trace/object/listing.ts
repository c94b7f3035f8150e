import { type Listing as Listed, readListing } from '../../../core/archive/listing/objects.ts';
import type { Replaced } from '../../../core/archive/replacements.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { Files } from '../../archive/files.ts';
import type { TraceSources } from '../sources.ts';
import type { Trail } from '../trail.ts';

/** An object as its record in the archive's list says it is. */
export interface ObjectView {
  readonly key: string;
  readonly url: string;
  readonly epoch: string;
  readonly topic: string;
  readonly partition: number;
  readonly day: string;
  /** The cut it was made by: offsets `[from, to)`, of all days together. */
  readonly cut: { readonly from: bigint; readonly to: bigint };
  /** Of its own rows, both inclusive. */
  readonly offsets: { readonly first: bigint; readonly last: bigint };
  readonly rows: bigint;
  readonly bytes: bigint;
  readonly sha256: string;
  readonly rowHash: string;
  readonly schemaId: number;
  readonly writerVersion: number;
  /** Records of the cut that are dead letters instead of rows. */
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

/** Listed objects of a topic. The list of a partition is read once, at the first question; objects are fetched one at a time. */
export class Listing {
  readonly topic: ArchivedTopic;
  readonly #sources: TraceSources;
  readonly #trail: Trail;
  readonly #listed = new Map<number, Promise<Listed>>();

  constructor(sources: TraceSources, trail: Trail, topic: ArchivedTopic) {
    this.#sources = sources;
    this.#trail = trail;
    this.topic = topic;
  }

  /** In order of offset. */
  async of(partition: number): Promise<readonly ArchiveObject[]> {
    return [...(await this.#read(partition)).objects];
  }

  /** Objects whose rows were given up. */
  async expired(partition: number): Promise<Iterable<ArchiveObject>> {
    return (await this.#read(partition)).expired;
  }

  /** Objects that are lost for good. */
  async lost(partition: number): Promise<readonly ArchiveObject[]> {
    return [...(await this.#read(partition)).lost];
  }

  /** The replacement that took an object of a partition off the list; undefined without one. */
  async replaced(partition: number, key: string): Promise<Replaced | undefined> {
    return (await this.#read(partition)).replaced.get(key);
  }

  #read(partition: number): Promise<Listed> {
    const { log, schemas, signal } = this.#sources;
    const found = this.#listed.get(partition) ?? readListing(log, schemas, this.topic, { partition }, signal);
    this.#listed.set(partition, found);
    return found;
  }

  /** Fetches one object and opens it in DuckDB. That it is missing, or not the bytes of its record, is a difference. */
  async open(object: ArchiveObject): Promise<Files> {
    this.#sources.signal?.throwIfAborted();
    const files = await Files.download(this.#sources.store, this.topic, [object]);
    for (const what of files.differences.examples) this.#trail.difference(what);
    return files;
  }
}
