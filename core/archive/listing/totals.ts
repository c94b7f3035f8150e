import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { endOfReplacements, objectsOf, readReplacements } from '../replacements.ts';
import { type ListSources, readManifested, readTail } from './manifested.ts';
import { readListing } from './objects.ts';

export interface Volume {
  readonly files: number;
  readonly rows: bigint;
  readonly bytes: bigint;
}

/** A day that has or had objects. */
export interface DayTotals {
  readonly day: string;
  /** Listed objects. */
  readonly listed: Volume;
  /** Undefined while it has no manifest. */
  readonly stands: ArchivePartition | undefined;
  /** Object records that are in no manifest yet. */
  readonly waiting: number;
  /** Nothing was listed or replaced since its manifest. */
  readonly settled: boolean;
}

/**
 * Totals of the listed objects of each day of a topic, in order of the days, from how the days stand and what came after. Reads neither the list nor the
 * bucket. Only days of which the sink repeated records after it was moved back by hand are counted in the list.
 *
 * @param all how the days of all topics stand, when it is known
 * @throws as `listObjects`
 */
export async function readTotals(
  sources: ListSources,
  topic: ArchivedTopic,
  all?: readonly ArchivePartition[],
): Promise<readonly DayTotals[]> {
  const manifested = await readManifested(sources, topic, all);
  const tail = await readTail(sources, manifested);
  const sums = new Map<string, { files: number; rows: bigint; bytes: bigint }>();
  const waiting = new Map<string, number>();
  const add = (day: string, files: number, rows: bigint, bytes: bigint): void => {
    const sum = sums.get(day) ?? { files: 0, rows: 0n, bytes: 0n };
    sum.files += files;
    sum.rows += rows;
    sum.bytes += bytes;
    sums.set(day, sum);
  };
  for (const { day, files, rows, bytes } of manifested.days.values()) add(day, Number(files), rows, bytes);
  for (const { day, rows, bytes } of tail.objects) {
    add(day, 1, rows, bytes);
    waiting.set(day, (waiting.get(day) ?? 0) + 1);
  }
  const unclear = new Set(tail.repeated);
  const replaced = new Set<string>();
  for (const { replacement } of tail.replacements) {
    const { day, replaced: keys, rows, bytes } = replacement;
    replaced.add(day);
    for (const object of objectsOf(replacement)) add(day, 1, object.rows, object.bytes);
    add(day, -keys.length, -rows, -bytes);
    // A record of an earlier version does not say how long its objects were.
    if (bytes === 0n && keys.length > 0) unclear.add(day);
  }
  if (unclear.size > 0) {
    const { log, schemas, signal } = sources;
    for (const day of unclear) sums.set(day, { files: 0, rows: 0n, bytes: 0n });
    const { objects } = await readListing(log, schemas, topic, { days: (day) => unclear.has(day) }, signal);
    for (const { day, rows, bytes } of objects) add(day, 1, rows, bytes);
  }
  return [...sums]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([day, listed]) => {
      const settled = manifested.days.has(day) && !waiting.has(day) && !replaced.has(day);
      return { day, listed, stands: manifested.days.get(day), waiting: waiting.get(day) ?? 0, settled };
    });
}

/** Objects of a topic that were given up: with its days, and because nothing could make it again. @throws as `listObjects` */
export async function readGivenUp(
  { log, schemas, signal }: ListSources,
  topic: ArchivedTopic,
): Promise<{ readonly expired: Volume; readonly lost: Volume }> {
  const none = { files: 0, rows: 0n, bytes: 0n };
  const sums = { EXPIRED: { ...none }, LOST: { ...none } };
  const range = { from: 0n, to: await endOfReplacements(log) };
  const wanted = (head: { readonly topic: string; readonly kind: string }): boolean =>
    head.topic === topic && head.kind in sums;
  for await (const { replacement } of readReplacements(log, schemas, range, signal, wanted)) {
    const sum = sums[replacement.kind as keyof typeof sums];
    sum.files += replacement.replaced.length;
    sum.rows += replacement.rows;
    sum.bytes += replacement.bytes;
  }
  return { expired: sums.EXPIRED, lost: sums.LOST };
}
