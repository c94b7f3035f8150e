import { type ArchiveObject, archiveObjectSchema } from '../../schemas/gen/archive_object.ts';
import { type ArchivedTopic, objectsTopic } from '../../schemas/topics.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { prepareDecoder, valuesOf } from '../runtime/decoding.ts';
import { type Log, readRange } from '../runtime/log.ts';
import { endOfReplacements, objectsOf, type Replaced, readReplacements, takesOff } from './replacements.ts';

export interface ListOptions {
  /** Only objects of this day, `YYYY-MM-DD`. */
  readonly day?: string;
  readonly signal?: AbortSignal;
}

const fetchOptions = { maxWaitMs: 250, maxBytesPerPartition: 1 << 20 };

/** A portion of object records of one partition of an objects topic. */
export interface ObjectRecords {
  readonly partition: number;
  readonly records: readonly { readonly offset: bigint; readonly timestamp: bigint; readonly object: ArchiveObject }[];
}

/**
 * The object records of `[from, to)`, also of objects that were replaced since, partition by partition, each in the order of offsets. Waits for transactions that are open there.
 *
 * @param from by partition; a partition without one is read from its start
 * @throws as `listObjects`
 */
export async function* readObjects(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  range: { readonly from: readonly bigint[]; readonly to: readonly bigint[] },
  signal: AbortSignal,
): AsyncGenerator<ObjectRecords> {
  const decoder = new AvroDecoder<ArchiveObject>(schemas, archiveObjectSchema);
  const name = objectsTopic(topic);
  for (const [partition, to] of range.to.entries()) {
    const at = { topic: name, partition, from: range.from[partition] ?? 0n, to };
    for await (const records of readRange(log, at, { ...fetchOptions, signal })) {
      await prepareDecoder(decoder, valuesOf(records), signal);
      const found: ObjectRecords['records'][number][] = [];
      for (const { offset, timestamp, value, unreadable } of records) {
        if (unreadable !== undefined) throw unreadable;
        if (value !== null) found.push({ offset, timestamp, object: decoder.decode(value) });
      }
      yield { partition, records: found };
    }
  }
}

export interface Listing {
  /** In order of partition, then of the first offset of the cut, then of the day. */
  readonly objects: readonly ArchiveObject[];
  /** By key; they may be in the bucket for a while. */
  readonly replaced: ReadonlyMap<string, Replaced>;
  /** Those of them whose rows are in no other object: they were given up with their day. */
  readonly expired: readonly ArchiveObject[];
  /** Those that were given up because they were gone or damaged, and nothing could make them again. */
  readonly lost: readonly ArchiveObject[];
}

/** Up to where a listing goes; default: everything that is committed. */
export interface ListingRange {
  /** By partition of the objects topic; what is not given goes to the end. */
  readonly covers?: readonly bigint[];
  /** In archive.replacements. */
  readonly replacements?: bigint;
}

/**
 * What the archive lists of a topic: the objects that the sink committed and the ones that replaced some of them, without those that were
 * replaced. Each row is in exactly one of them, whatever is listed or replaced while this reads.
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
  const replaced = new Map<string, Replaced>();
  const replacing: ArchiveObject[] = [];
  const end = range.replacements ?? (await endOfReplacements(log));
  for await (const { offset, replacement } of readReplacements(log, schemas, { from: 0n, to: end }, signal)) {
    if (replacement.topic !== topic) continue;
    const kind = takesOff(replacement);
    if (kind === undefined) continue;
    for (const key of replacement.replaced) replaced.set(key, { kind, offset });
    for (const object of objectsOf(replacement)) replacing.push(object);
  }
  const name = objectsTopic(topic);
  const [from, ends] = await Promise.all([log.starts(name), log.ends(name)]);
  const [objects, gone]: [ArchiveObject[], ArchiveObject[]] = [[], []];
  const to = ends.map((each, partition) => range.covers?.[partition] ?? each);
  for await (const { records } of readObjects(log, schemas, topic, { from, to }, signal)) {
    for (const { object } of records) {
      (replaced.has(object.key) ? gone : objects).push(object);
    }
  }
  const left = replacing.filter(({ key }) => !replaced.has(key));
  gone.push(...replacing.filter(({ key }) => replaced.has(key)));
  const of = (kind: Replaced['kind']) => gone.filter(({ key }) => replaced.get(key)?.kind === kind);
  return {
    objects: left.length === 0 ? objects : [...objects, ...left].sort(inOrder),
    replaced,
    expired: of('EXPIRED'),
    lost: of('LOST'),
  };
}

function inOrder(a: ArchiveObject, b: ArchiveObject): number {
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
  const { objects } = await readListing(log, schemas, topic, {}, options.signal);
  return objects.filter(({ day }) => options.day === undefined || day === options.day);
}
