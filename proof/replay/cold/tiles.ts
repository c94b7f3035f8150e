import { KeyMap } from '../../../core/archive/listing/key-map.ts';
import { readListing, readObjects } from '../../../core/archive/listing/objects.ts';
import { ObjectTable } from '../../../core/archive/listing/table.ts';
import { parseUnlisted } from '../../../core/archive/unlisted.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import type { Log } from '../../../core/log/log.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { type ArchivedTopic, objectsTopic } from '../../../schemas/topics.ts';

/** Half-open: `to` is exclusive. */
export interface TileRange {
  readonly from: bigint;
  readonly to: bigint;
}

/** A cut of the sink: its range and the number of dead letters in it. */
export interface Tile extends TileRange {
  readonly deadLetters: bigint;
}

/** The listed archive of one partition. */
export interface Tiles extends TileRange {
  /** The cuts, in order. */
  readonly cuts: readonly Tile[];
  /** Files that hold the rows now, in any order. */
  readonly objects: ObjectTable;
  /** Ranges between `from` and `to` that the list lacks, with the reason, in order. */
  readonly gaps: readonly (TileRange & { readonly why: string })[];
}

/**
 * Reads the listed archive of a topic, by partition. The cuts tile the log: each begins at the end of the previous one. A gap between two
 * cuts is missing.
 *
 * @throws as `listObjects`; CUT_UNREADABLE.
 */
export async function readTiles(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  signal: AbortSignal,
): Promise<readonly Tiles[]> {
  const name = objectsTopic(topic);
  // Committed offsets first, then ends: every object of a committed range is listed before those ends.
  const committed = await log.committed(groupOf('parquet'), topic);
  const [from, to] = await Promise.all([log.starts(name), log.ends(name)]);
  const written = to.map(() => new ObjectTable());
  for await (const { partition, records } of readObjects(log, schemas, topic, { from, to }, signal)) {
    for (const { object } of records) written[partition]?.add(object);
  }
  const { objects: listed, lost } = await readListing(log, schemas, topic, {}, signal);
  return written.map((objects, partition) => {
    const sink = committed.find((each) => each.partition === partition);
    const unlisted = parseUnlisted(sink?.metadata ?? '');
    const tail =
      sink === undefined || unlisted === undefined || unlisted.since >= sink.offset
        ? undefined
        : { from: unlisted.since, to: sink.offset, deadLetters: BigInt(unlisted.deadLetters) };
    const own = (all: ObjectTable) => all.where((object) => object.partition === partition);
    return tilesOf(objects, own(listed), own(lost), tail);
  });
}

function tilesOf(written: ObjectTable, objects: ObjectTable, lost: ObjectTable, tail: Tile | undefined): Tiles {
  const byStart = new Map<bigint, Tile>();
  for (const { from_offset: from, to_offset: to, dead_letters: deadLetters } of written) {
    byStart.set(from, { from, to, deadLetters });
  }
  const cuts = [...byStart.values()].sort((a, b) => (a.from < b.from ? -1 : 1));
  const last = cuts.at(-1);
  // Only after at least one cut: alone it would be an archive of nothing. A newer cut may have it in its range already.
  if (tail !== undefined && last !== undefined && tail.from >= last.to) cuts.push(tail);
  const gaps: (TileRange & { why: string })[] = [];
  for (const [i, { from }] of cuts.entries()) {
    const before = cuts[i - 1];
    if (before !== undefined && before.to < from) {
      gaps.push({ from: before.to, to: from, why: 'the archive never listed them' });
    }
  }
  for (const { first_offset: from, last_offset: last, key } of lost) {
    gaps.push({ from, to: last + 1n, why: `${key} had rows of them, is lost, and nothing can produce it again` });
  }
  for (const object of missingDays(written, [objects, lost])) {
    const { first_offset: from, last_offset: last, day } = object;
    gaps.push({ from, to: last + 1n, why: `rows of ${day} were removed from the archive` });
  }
  gaps.sort((a, b) => (a.from < b.from ? -1 : 1));
  return { from: cuts[0]?.from ?? 0n, to: cuts.at(-1)?.to ?? 0n, cuts, objects, gaps };
}

/** Objects of days with fewer listed rows than were written: expired, not lost, and not replaced by objects with the same rows. */
function missingDays(written: ObjectTable, listed: readonly ObjectTable[]): ArchiveObject[] {
  const left = new Map<string, bigint>();
  for (const { day, rows } of written) left.set(day, (left.get(day) ?? 0n) + rows);
  const keys = new KeyMap<true>();
  for (const objects of listed) {
    for (const { day, rows, key } of objects) {
      left.set(day, (left.get(day) ?? 0n) - rows);
      keys.set([key], true);
    }
  }
  return written.filter(({ day, key }) => left.get(day) !== 0n && !keys.has(key));
}
