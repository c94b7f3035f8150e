import { planOf } from '../../../core/archive/keys.ts';
import { formatDay } from '../../../core/values/time.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { GivenUp } from '../../archive/expired.ts';
import { tradesTopic } from '../../reading/topic.ts';
import { parquetGroups, placeOf, type RowPosition } from '../object/groups.ts';
import { ObjectListing, type ObjectView, viewOf } from '../object/listing.ts';
import { Manifests, type ManifestView } from '../object/manifest.ts';
import type { TraceSources } from '../sources.ts';
import { allColumns, differencesOf, numberIn, readTexts, selectTexts } from '../texts.ts';
import type { Trail } from '../trail.ts';
import type { TracedChange } from './changes.ts';

/** The location of a change in the archive. */
export interface ChangeLocation {
  /**
   * `listed`: in an object. `waiting`: not yet committed by the sink. `refused`: a dead letter of the sink. `expired`: its day has expired.
   * `lost`: its object is lost. `missing`: nowhere, which is a difference.
   */
  readonly state: 'listed' | 'waiting' | 'refused' | 'expired' | 'lost' | 'missing';
  readonly object: ObjectView | null;
  /** Position in the file; null if the file does not hold it. */
  readonly place: RowPosition | null;
  /** The newest manifest of the object's day; null without an object or a manifest. */
  readonly manifest: ManifestView | null;
  /** Whether the archived row equals the change in the log, column by column; null if the log has deleted it. */
  readonly equal: boolean | null;
}

const columns = allColumns(tradesTopic);

/** The sink's state in the partition, read before its list. */
export interface SinkState {
  readonly committed: bigint;
  /** Offsets of the sink's dead letters. */
  readonly refused: ReadonlySet<bigint>;
}

/** Finds each change's row in the listed objects and reads it. One object at a time is on disk. */
export async function locate(
  sources: TraceSources,
  trail: Trail,
  partition: number,
  changes: readonly TracedChange[],
  { committed, refused }: SinkState,
): Promise<ReadonlyMap<bigint, ChangeLocation>> {
  const found = new Map<bigint, ChangeLocation>();
  if (changes.length === 0) return found;
  const listing = new ObjectListing(sources, trail, tradesTopic);
  const objects = await listing.of(partition);
  const searched = trail.search(`archive of ${tradesTopic}/${partition}`, null, 'objects');
  searched.records = objects.length;
  const expired = new GivenUp(tradesTopic, await listing.expired(partition));
  const lost = await listing.lost(partition);
  const holders = new Map<TracedChange, readonly ArchiveObject[]>();
  const byObject = new Map<ArchiveObject, TracedChange[]>();
  for (const change of changes) {
    const own = holdersOf(objects, change, trail);
    holders.set(change, own);
    for (const object of own) byObject.set(object, [...(byObject.get(object) ?? []), change]);
  }
  const manifests = new Manifests(sources, trail);
  const hits = new Map<TracedChange, ChangeLocation[]>();
  let done = 0;
  for (const [object, held] of byObject) {
    sources.onProgress?.({ what: `archive of ${tradesTopic}/${partition}`, done: done++, total: byObject.size });
    const manifest = await manifests.of(object);
    const here = await read(sources, trail, listing, object, held);
    if (here.size > 0) searched.found++;
    for (const [change, located] of here) {
      hits.set(change, [...(hits.get(change) ?? []), { ...located, manifest }]);
    }
  }
  for (const change of changes) {
    const { offset } = change;
    const own = holders.get(change) ?? [];
    const [hit, ...more] = hits.get(change) ?? [];
    if (more.length > 0) trail.difference(`offset ${offset} is in ${more.length + 1} listed objects: ${keysOf(own)}`);
    const [gone] = hit === undefined ? holdersOf(lost, change, trail) : [];
    if (hit !== undefined) found.set(offset, hit);
    else if (gone !== undefined) {
      trail.gone(
        `${tradesTopic}/${partition} offset ${offset} is lost: ${gone.key} had it, and nothing can produce it again`,
      );
      found.set(offset, { state: 'lost', object: null, place: null, manifest: null, equal: null });
    } else if (own[0] !== undefined) {
      trail.difference(`${keysOf(own)} is to hold offset ${offset}, and does not`);
      const [object, manifest] = [viewOf(sources.bucket, own[0]), await manifests.of(own[0])];
      found.set(offset, { state: 'listed', object, place: null, manifest, equal: false });
    } else {
      const given = expired.hasRow(partition, offset, dayOf(change));
      if (given)
        trail.gone(`${tradesTopic}/${partition} offset ${offset} has expired with its day: it is no longer archived`);
      const state = given ? 'expired' : unlisted(trail, partition, offset, committed, refused);
      found.set(offset, { state, object: null, place: null, manifest: null, equal: null });
    }
  }
  return found;
}

/**
 * The listed objects of which one has to hold a change: same partition and day, with the offset between first and last. It is one object of
 * the sink, or several compacted ones, which are not in offset order.
 */
function holdersOf(objects: readonly ArchiveObject[], change: TracedChange, trail: Trail): readonly ArchiveObject[] {
  const { offset } = change;
  const day = dayOf(change);
  const holders = objects.filter(
    (each) => each.day === day && each.first_offset <= offset && offset <= each.last_offset,
  );
  const cuts = holders.filter(({ key }) => planOf(key) === undefined);
  if (cuts.length > 1) {
    trail.difference(
      `offset ${offset} is between the offsets of ${cuts.length} listed objects of ${day}: ${keysOf(cuts)}`,
    );
  }
  return holders;
}

function dayOf({ texts }: TracedChange): string {
  return formatDay(numberIn(texts, 'executed_at') ?? numberIn(texts, '_source_time') ?? 0n);
}

function keysOf(objects: readonly ArchiveObject[]): string {
  return objects.map(({ key }) => key).join(', ');
}

function unlisted(
  trail: Trail,
  partition: number,
  offset: bigint,
  committed: bigint,
  refused: ReadonlySet<bigint>,
): 'waiting' | 'refused' | 'missing' {
  const at = `${tradesTopic}/${partition} offset ${offset}`;
  if (refused.has(offset)) return 'refused';
  if (offset >= committed) {
    trail.pending(`${at} is not archived yet: the sink has committed up to ${committed}`);
    return 'waiting';
  }
  trail.difference(`${at} is in no listed object, though the sink has committed up to ${committed}`);
  return 'missing';
}

async function read(
  { bucket }: TraceSources,
  trail: Trail,
  listing: ObjectListing,
  object: ArchiveObject,
  changes: readonly TracedChange[],
): Promise<Map<TracedChange, Omit<ChangeLocation, 'manifest'>>> {
  await using files = await listing.open(object);
  const path = files.pathOf(0);
  const groups = files.differences.count > 0 ? await parquetGroups(files).catch(() => []) : await parquetGroups(files);
  const found = new Map<TracedChange, Omit<ChangeLocation, 'manifest'>>();
  const view = viewOf(bucket, object);
  for (const change of changes) {
    const { offset } = change;
    const rows =
      groups.length === 0
        ? []
        : await files.query(
            `SELECT ${selectTexts('duckdb', columns)}, file_row_number AS n FROM read_parquet('${path}', file_row_number = true)
              WHERE _partition = ${object.partition} AND _offset = ${offset} ORDER BY n`,
          );
    const [row] = rows;
    if (row === undefined) continue;
    if (rows.length > 1) trail.difference(`${object.key} holds offset ${offset} ${rows.length} times`);
    const different = differencesOf(columns, readTexts(columns, row), change.texts, 'in the log');
    if (different.length > 0) trail.difference(`${object.key}, offset ${offset}: ${different.join(', ')}`);
    found.set(change, {
      state: 'listed',
      object: view,
      place: placeOf(groups, row['n'] as bigint),
      equal: change.source === 'archive' ? null : different.length === 0,
    });
  }
  return found;
}
