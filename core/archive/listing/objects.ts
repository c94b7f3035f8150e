import { type ArchiveObject, archiveObjectSchema } from '../../../schemas/gen/archive_object.ts';
import { type ArchivedTopic, objectsTopic } from '../../../schemas/topics.ts';
import { AvroDecoder } from '../../avro/decoder.ts';
import type { Schemas } from '../../avro/schemas.ts';
import { prepareDecoder, valuesOf } from '../../log/decoding.ts';
import { type Log, readRange } from '../../log/log.ts';
import {
  endOfReplacements,
  objectsOf,
  type Replaced,
  type ReplacementHead,
  readReplacements,
  takesOff,
} from '../replacements.ts';
import { KeyMap } from './key-map.ts';
import { ObjectTable } from './table.ts';

export interface ListOptions {
  /** Only objects of this day, `YYYY-MM-DD`. */
  readonly day?: string;
  readonly signal?: AbortSignal;
}

const fetchOptions = { maxWaitMs: 250, maxBytesPerPartition: 1 << 20 };

/** Most records that are decoded at once. */
const portion = 1_000;

/** A portion of object records of one partition of an objects topic. */
export interface ObjectRecords {
  readonly partition: number;
  readonly records: readonly { readonly offset: bigint; readonly timestamp: bigint; readonly object: ArchiveObject }[];
}

/** Which object records are read. */
export interface ObjectRange {
  /** By partition; a partition without one is read from its start. */
  readonly from: readonly bigint[];
  /** By partition, exclusive; a partition without one is not read. */
  readonly to: readonly bigint[];
  /** Only objects of these days; default: all. Records of other days are skipped, not decoded. */
  readonly days?: ((day: string) => boolean) | undefined;
}

/** An object as a manifest has it, too. */
export type ListedObject = Omit<ArchiveObject, 'dead_letters'>;

const dayReader = { ...archiveObjectSchema, fields: archiveObjectSchema.fields.filter(({ name }) => name === 'day') };

/**
 * The object records of `[from, to)`, also of objects that were replaced since, partition by partition, each in the order of offsets. Waits for transactions that are open there.
 *
 * @throws as `listObjects`
 */
export async function* readObjects(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  { from, to, days }: ObjectRange,
  signal: AbortSignal,
): AsyncGenerator<ObjectRecords> {
  const decoder = new AvroDecoder<ArchiveObject>(schemas, archiveObjectSchema);
  const dayDecoder = new AvroDecoder<Pick<ArchiveObject, 'day'>>(schemas, dayReader);
  const name = objectsTopic(topic);
  for (const [partition, end] of to.entries()) {
    const at = { topic: name, partition, from: from[partition] ?? 0n, to: end };
    for await (const records of readRange(log, at, { ...fetchOptions, signal })) {
      await prepareDecoder(decoder, valuesOf(records), signal);
      if (days !== undefined) await prepareDecoder(dayDecoder, valuesOf(records), signal);
      let found: ObjectRecords['records'][number][] = [];
      for (const { offset, timestamp, value, unreadable } of records) {
        if (unreadable !== undefined) throw unreadable;
        if (value === null || days?.(dayDecoder.decode(value).day) === false) continue;
        if (found.push({ offset, timestamp, object: decoder.decode(value) }) < portion) continue;
        yield { partition, records: found };
        found = [];
      }
      if (found.length > 0) yield { partition, records: found };
    }
  }
}

export interface Listing {
  /** In order of partition, then of the first offset of the cut, then of the day. */
  readonly objects: ObjectTable;
  /** They may be in the bucket for a while. */
  readonly replaced: KeyMap<Replaced>;
  /** Those of them whose rows are in no other object: they were given up with their day. */
  readonly expired: ObjectTable;
  /** Those that were given up because they were gone or damaged, and nothing could make them again. */
  readonly lost: ObjectTable;
}

/** Scope of a listing; default: everything that is committed. */
export interface ListingRange {
  /** By partition of the objects topic, up to where; what is not given goes to the end. */
  readonly covers?: readonly bigint[];
  /** In archive.replacements, up to where. */
  readonly replacements?: bigint;
  /** Only objects of these days, and keys that were replaced in them. */
  readonly days?: ((day: string) => boolean) | undefined;
  /** Only objects of this partition. */
  readonly partition?: number | undefined;
}

/**
 * The listed objects of a topic, from the log alone: the objects that the sink committed and the ones that replaced some of them, without those that were
 * replaced. Each row is in exactly one of them, whatever is listed or replaced while this reads. All records are read; only the objects that were asked for are
 * kept, in columns. See listing/ for questions that need less.
 *
 * @throws as `listObjects`
 */
export async function readListing(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  range: ListingRange = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<Listing> {
  const { days, partition: only } = range;
  const replaced = new KeyMap<Replaced>();
  const replacing = new ObjectTable();
  const end = range.replacements ?? (await endOfReplacements(log));
  const own = (head: ReplacementHead): boolean => head.topic === topic && days?.(head.day) !== false;
  for await (const { offset, replacement } of readReplacements(log, schemas, { from: 0n, to: end }, signal, own)) {
    const kind = takesOff(replacement);
    if (kind === undefined) continue;
    replaced.set(replacement.replaced, { kind, offset });
    for (const object of objectsOf(replacement)) {
      if (only === undefined || object.partition === only) replacing.add(object);
    }
  }
  const name = objectsTopic(topic);
  const [from, ends] = await Promise.all([log.starts(name), log.ends(name)]);
  const to = ends.map((each, partition) =>
    only === undefined || partition === only ? (range.covers?.[partition] ?? each) : 0n,
  );
  const [objects, expired, lost] = [new ObjectTable(), new ObjectTable(), new ObjectTable()];
  const take = (object: ArchiveObject): void => {
    const kind = replaced.get(object.key)?.kind;
    if (kind === undefined) objects.add(object);
    else if (kind === 'EXPIRED') expired.add(object);
    else if (kind === 'LOST') lost.add(object);
  };
  for await (const { records } of readObjects(log, schemas, topic, { from, to, days }, signal)) {
    for (const { object } of records) take(object);
  }
  const written = objects.length;
  for (const object of replacing) take(object);
  objects.merge(written, inOrder);
  return { objects, replaced, expired, lost };
}

/** The order of a list. */
export function inOrder(a: ListedObject, b: ListedObject): number {
  if (a.partition !== b.partition) return a.partition - b.partition;
  if (a.from_offset !== b.from_offset) return a.from_offset < b.from_offset ? -1 : 1;
  if (a.day !== b.day) return a.day < b.day ? -1 : 1;
  if (a.first_offset !== b.first_offset) return a.first_offset < b.first_offset ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}

/**
 * The objects that the archive lists of a topic, as of now: the exact answer to "which files hold it". What is in the bucket and not
 * here is not visible yet, was replaced, or was left behind by a cut that is being finished.
 *
 * In order of partition, then of the first offset of the cut, then of the day.
 *
 * @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING; BAD_AVRO and the like when somebody else wrote into the topic.
 */
export async function listObjects(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  options: ListOptions = {},
): Promise<ArchiveObject[]> {
  const { day, signal } = options;
  const range = day === undefined ? {} : { days: (each: string) => each === day };
  return [...(await readListing(log, schemas, topic, range, signal)).objects];
}
