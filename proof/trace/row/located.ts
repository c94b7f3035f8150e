import { planOf } from '../../../core/archive/keys.ts';
import { formatDay } from '../../../core/values/time.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { GivenUp } from '../../archive/expired.ts';
import { tradesTopic } from '../../reading/topic.ts';
import { type Place, parquetGroups, placeOf } from '../object/groups.ts';
import { Listing, type ObjectView, viewOf } from '../object/listing.ts';
import { Manifests, type ManifestView } from '../object/manifest.ts';
import type { TraceSources } from '../sources.ts';
import { allColumns, differencesOf, numberIn, readTexts, selectTexts } from '../texts.ts';
import type { Trail } from '../trail.ts';
import type { Change } from './changes.ts';

/** Where in the archive a change is. */
export interface Located {
  /**
   * `listed`: in an object. `waiting`: the sink has not committed so far. `refused`: a dead letter of the sink. `expired`: given up with its day. `lost`: its object is gone for good.
   * `missing`: nowhere, which must not be.
   */
  readonly state: 'listed' | 'waiting' | 'refused' | 'expired' | 'lost' | 'missing';
  readonly object: ObjectView | null;
  /** Where in the file; null when the file does not hold it. */
  readonly place: Place | null;
  /** The newest manifest of the object's day; null without an object, or while the day has none. */
  readonly manifest: ManifestView | null;
  /** The row that is there equals the change in the log, column by column; null when the log has it no more. */
  readonly equal: boolean | null;
}

const columns = allColumns(tradesTopic);

/** How the sink stands with the partition, read before its list is. */
export interface SinkState {
  readonly committed: bigint;
  /** Offsets that are dead letters of the sink. */
  readonly refused: ReadonlySet<bigint>;
}

/** Finds each change's row in the listed objects, and reads it there. One object at a time is on disk. */
export async function locate(
  sources: TraceSources,
  trail: Trail,
  partition: number,
  changes: readonly Change[],
  { committed, refused }: SinkState,
): Promise<ReadonlyMap<bigint, Located>> {
  const found = new Map<bigint, Located>();
  if (changes.length === 0) return found;
  const listing = new Listing(sources, trail, tradesTopic);
  const objects = await listing.of(partition);
  const searched = trail.search(`archive of ${tradesTopic}/${partition}`, null, 'objects');
  searched.records = objects.length;
  const expired = new GivenUp(tradesTopic, await listing.expired(partition));
  const lost = await listing.lost(partition);
  const holders = new Map<Change, readonly ArchiveObject[]>();
  const byObject = new Map<ArchiveObject, Change[]>();
  for (const change of changes) {
    const own = holdersOf(objects, change, trail);
    holders.set(change, own);
    for (const object of own) byObject.set(object, [...(byObject.get(object) ?? []), change]);
  }
  const manifests = new Manifests(sources, trail);
  const hits = new Map<Change, Located[]>();
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
        `${tradesTopic}/${partition} offset ${offset} is lost: ${gone.key} had it, and nothing could make it again`,
      );
      found.set(offset, { state: 'lost', object: null, place: null, manifest: null, equal: null });
    } else if (own[0] !== undefined) {
      trail.difference(`${keysOf(own)} is to hold offset ${offset}, and does not`);
      const [object, manifest] = [viewOf(sources.bucket, own[0]), await manifests.of(own[0])];
      found.set(offset, { state: 'listed', object, place: null, manifest, equal: false });
    } else {
      const given = expired.hasRow(partition, offset, dayOf(change));
      if (given)
        trail.gone(`${tradesTopic}/${partition} offset ${offset} was given up with its day: it is archived no more`);
      const state = given ? 'expired' : unlisted(trail, partition, offset, committed, refused);
      found.set(offset, { state, object: null, place: null, manifest: null, equal: null });
    }
  }
  return found;
}

/**
 * The listed objects one of which has to hold a change: of its partition and day, with its offset between the first and the last. There is
 * one of the sink, or several of a compaction, which are not in the order of offsets.
 */
function holdersOf(objects: readonly ArchiveObject[], change: Change, trail: Trail): readonly ArchiveObject[] {
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

function dayOf({ texts }: Change): string {
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
  listing: Listing,
  object: ArchiveObject,
  changes: readonly Change[],
): Promise<Map<Change, Omit<Located, 'manifest'>>> {
  await using files = await listing.open(object);
  const path = files.pathOf(0);
  const groups = files.differences.count > 0 ? await parquetGroups(files).catch(() => []) : await parquetGroups(files);
  const found = new Map<Change, Omit<Located, 'manifest'>>();
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
