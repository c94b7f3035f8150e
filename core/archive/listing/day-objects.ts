import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import { type ArchivedTopic, objectsTopic } from '../../../schemas/topics.ts';
import { MillraceError } from '../../base/errors.ts';
import { sha256Of } from '../../values/sha256.ts';
import { parseManifest, withObjects, withReplacements } from '../manifest.ts';
import type { ObjectStore } from '../s3/store.ts';
import { type ListSources, type Manifested, readManifested, readTail, type Tail } from './manifested.ts';
import { inOrder, type ListedObject, readListing } from './objects.ts';

/** Listed objects of a day. */
export interface DayObjects {
  readonly day: string;
  /** How the day stood; undefined while it had no manifest. */
  readonly stands: ArchivePartition | undefined;
  /** In the order of the list. */
  readonly objects: readonly ListedObject[];
}

export interface DayObjectsOptions {
  /** Days that are asked for. */
  readonly days: (day: string, stands: ArchivePartition | undefined) => boolean;
  /** By partition of the objects topic, up to where; not before what manifests cover. Default: the end. */
  readonly covers?: readonly bigint[];
  /** How the days of all topics stand, when it is known. */
  readonly stands?: readonly ArchivePartition[];
}

/** A record of the log takes less CPU than a file of a manifest, by about this factor (bench listing). */
const logIsFaster = 3;

/**
 * Listed objects of some days of a topic, day by day, in order of the days. The objects are in the days' manifests, which are checked by the
 * SHA-256 that the log has of them; only what came after is read from the log. So the cost is that of the days that are asked for, and one day is in
 * memory at a time. The list itself is read when that is less, and for days whose manifest cannot be read: those come last.
 *
 * @throws as `listObjects`. What the bucket does not answer is in the log.
 */
export async function* readDayObjects(
  sources: ListSources & { readonly store: Pick<ObjectStore, 'get'> },
  topic: ArchivedTopic,
  options: DayObjectsOptions,
): AsyncGenerator<DayObjects> {
  const { log, store, signal } = sources;
  const manifested = await readManifested(sources, topic, options.stands);
  const days = (day: string): boolean => options.days(day, manifested.days.get(day));
  const tail = await readTail(sources, manifested, { days, covers: options.covers });
  const names = [...manifested.days.keys(), ...tail.objects.map(({ day }) => day)].filter(days);
  const wanted = [...new Set(names)].sort();
  const manifests = wanted.reduce((sum, day) => sum + (manifested.days.get(day)?.files ?? 0n), 0n);
  const name = objectsTopic(topic);
  const [starts, ends] = await Promise.all([log.starts(name), log.ends(name)]);
  const records = ends.reduce((sum, end, i) => sum + end - (starts[i] ?? 0n), 0n);
  let useLog = manifests * BigInt(logIsFaster) > records;
  const left = new Set<string>();
  const later = byDay(tail);
  for (const day of wanted) {
    const stands = manifested.days.get(day);
    const own = later.get(day) ?? { objects: [], replacements: [] };
    if (useLog || tail.repeated.has(day)) {
      left.add(day);
      continue;
    }
    try {
      const had = stands === undefined ? [] : await filesOf(store, stands, signal);
      if (had === undefined) {
        left.add(day);
        continue;
      }
      const objects = own.objects.map((index) => tail.objects.at(index)).filter((each) => each !== undefined);
      const files = withReplacements(withObjects(had, objects), own.replacements);
      const epoch = stands?.epoch ?? objects[0]?.epoch ?? '';
      yield { day, stands, objects: files.map((file) => ({ ...file, epoch, topic, day })).sort(inOrder) };
    } catch (error) {
      if (!(error instanceof MillraceError && error.code.startsWith('S3_'))) throw error;
      signal.throwIfAborted();
      useLog = true;
      left.add(day);
    }
  }
  if (left.size > 0) yield* readFromLog(sources, topic, manifested, left, options.covers);
}

/** The days as the list itself has them. */
async function* readFromLog(
  { log, schemas, signal }: ListSources,
  topic: ArchivedTopic,
  manifested: Manifested,
  days: ReadonlySet<string>,
  covers: readonly bigint[] | undefined,
): AsyncGenerator<DayObjects> {
  const range = { days: (day: string) => days.has(day), ...(covers === undefined ? {} : { covers }) };
  const { objects } = await readListing(log, schemas, topic, range, signal);
  const rows = new Map<string, number[]>();
  for (let index = 0; index < objects.length; index++) {
    const day = objects.at(index)?.day ?? '';
    const own = rows.get(day);
    if (own === undefined) rows.set(day, [index]);
    else own.push(index);
  }
  for (const day of [...days].sort()) {
    const own = (rows.get(day) ?? []).map((index) => objects.at(index)).filter((each) => each !== undefined);
    yield { day, stands: manifested.days.get(day), objects: own };
  }
}

/** Files of a day's manifest; undefined when it is gone or altered. */
async function filesOf(store: Pick<ObjectStore, 'get'>, day: ArchivePartition, signal: AbortSignal) {
  if (day.files === 0n) return [];
  const stored = await store.get(day.manifest_key, signal);
  if (stored === undefined || sha256Of(stored.bytes) !== day.manifest_sha256) return undefined;
  return parseManifest(stored.bytes).files;
}

/** By day, the places of its objects in the tail, and its replacements. */
function byDay({ objects, replacements }: Tail) {
  const days = new Map<string, { objects: number[]; replacements: Tail['replacements'][number]['replacement'][] }>();
  const of = (day: string) => {
    const own = days.get(day) ?? { objects: [], replacements: [] };
    days.set(day, own);
    return own;
  };
  let index = 0;
  for (const { day } of objects) of(day).objects.push(index++);
  for (const { replacement } of replacements) of(replacement.day).replacements.push(replacement);
  return days;
}
