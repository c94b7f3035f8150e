import { formatDay } from '../../../core/time.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { type Place, parquetGroups, placeOf } from '../object/groups.ts';
import { Listing, type ObjectView, viewOf } from '../object/listing.ts';
import { Manifests, type ManifestView } from '../object/manifest.ts';
import { type TraceSources, tradesTopic } from '../sources.ts';
import { allColumns, differencesOf, numberIn, readTexts, selectTexts } from '../texts.ts';
import type { Trail } from '../trail.ts';
import type { Change } from './changes.ts';

/** Where in the archive a change is. */
export interface Located {
  /** `listed`: in an object. `waiting`: the sink has not committed so far. `refused`: a dead letter of the sink. `missing`: nowhere, which must not be. */
  readonly state: 'listed' | 'waiting' | 'refused' | 'missing';
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
  const byObject = new Map<ArchiveObject, Change[]>();
  for (const change of changes) {
    const object = holderOf(objects, change, trail);
    const { offset } = change;
    if (object !== undefined) byObject.set(object, [...(byObject.get(object) ?? []), change]);
    else
      found.set(offset, {
        state: unlisted(trail, partition, offset, committed, refused),
        object: null,
        place: null,
        manifest: null,
        equal: null,
      });
  }
  searched.found = byObject.size;
  const manifests = new Manifests(sources, trail);
  let done = 0;
  for (const [object, held] of byObject) {
    sources.onProgress?.({ what: `archive of ${tradesTopic}/${partition}`, done: done++, total: byObject.size });
    const manifest = await manifests.of(object);
    for (const [offset, located] of await read(sources, trail, listing, object, held)) {
      found.set(offset, { ...located, manifest });
    }
  }
  return found;
}

/** The listed object that has to hold a change: of its partition and day, with its offset between the first and the last. */
export function holderOf(
  objects: readonly ArchiveObject[],
  { offset, texts }: Change,
  trail: Trail,
): ArchiveObject | undefined {
  const day = formatDay(numberIn(texts, 'executed_at') ?? numberIn(texts, '_source_time') ?? 0n);
  const holders = objects.filter(
    (each) => each.day === day && each.first_offset <= offset && offset <= each.last_offset,
  );
  if (holders.length > 1) {
    trail.difference(
      `offset ${offset} is between the offsets of ${holders.length} listed objects of ${day}: ${holders.map(({ key }) => key).join(', ')}`,
    );
  }
  return holders[0];
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
): Promise<Map<bigint, Omit<Located, 'manifest'>>> {
  await using files = await listing.open(object);
  const path = files.pathOf(0);
  const groups = files.differences.count > 0 ? await parquetGroups(files).catch(() => []) : await parquetGroups(files);
  const found = new Map<bigint, Omit<Located, 'manifest'>>();
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
    if (row === undefined) {
      trail.difference(`${object.key} is to hold offset ${offset}, and does not`);
      found.set(offset, { state: 'listed', object: view, place: null, equal: false });
      continue;
    }
    if (rows.length > 1) trail.difference(`${object.key} holds offset ${offset} ${rows.length} times`);
    const different = differencesOf(columns, readTexts(columns, row), change.texts, 'in the log');
    if (different.length > 0) trail.difference(`${object.key}, offset ${offset}: ${different.join(', ')}`);
    found.set(offset, {
      state: 'listed',
      object: view,
      place: placeOf(groups, row['n'] as bigint),
      equal: change.source === 'archive' ? null : different.length === 0,
    });
  }
  return found;
}
