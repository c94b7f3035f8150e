import { planOf } from '../../../core/archive/keys.ts';
import type { ListedObject } from '../../../core/archive/listing/objects.ts';
import { addRowHashes, formatRowHash } from '../../../core/values/rowhash/rowhash.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';

/** Objects that are merged: one partition and day, one writer schema, one writer version. */
export interface Group {
  readonly topic: ArchivedTopic;
  readonly day: string;
  readonly partition: number;
  readonly schemaId: number;
  readonly writerVersion: number;
}

/** A due group with its inputs. */
export interface DueGroup extends Group {
  /** In order of partition and offset. */
  readonly inputs: readonly ListedObject[];
}

/** Total length of the keys that one record replaces: a Kafka record has at most 1 MiB. */
const longestKeys = 400_000;

export function groupOf(topic: ArchivedTopic, object: ListedObject): Group {
  const { day, partition, schema_id: schemaId, writer_version: writerVersion } = object;
  return { topic, day, partition, schemaId, writerVersion };
}

export function groupId({ topic, day, partition, schemaId, writerVersion }: Group): string {
  return [topic, day, partition, schemaId, writerVersion].join('/');
}

/**
 * The due groups: each has an object of the sink and at least one more object. A compacted object smaller than half of the target is merged
 * again. So a late row rewrites a small file and not the day.
 *
 * @param objects of one topic, as the archive lists them
 * @param closed whether a day is complete
 */
export function dueGroups(
  topic: ArchivedTopic,
  objects: readonly ListedObject[],
  closed: (day: string) => boolean,
  targetBytes: number,
): readonly DueGroup[] {
  const groups = new Map<string, ListedObject[]>();
  for (const object of objects) {
    if (!closed(object.day)) continue;
    const id = groupId(groupOf(topic, object));
    const own = groups.get(id);
    if (own === undefined) groups.set(id, [object]);
    else own.push(object);
  }
  const due: DueGroup[] = [];
  for (const own of groups.values()) {
    const inputs = inputsOf(own, BigInt(targetBytes));
    const [first] = inputs;
    if (first === undefined || inputs.length < 2) continue;
    due.push({ ...groupOf(topic, first), inputs });
  }
  return due.sort(inOrder);
}

function inOrder(a: Group, b: Group): number {
  if (a.day !== b.day) return a.day < b.day ? -1 : 1;
  return a.partition - b.partition || a.schemaId - b.schemaId || a.writerVersion - b.writerVersion;
}

/**
 * The objects of a group that a compaction takes, each once. It depends only on the listed objects, so the owner that finishes a plan takes
 * the same.
 */
export function inputsOf(group: readonly ListedObject[], targetBytes: bigint): readonly ListedObject[] {
  const inputs: ListedObject[] = [];
  const taken = new Set<string>();
  let keys = 0;
  for (const object of group) {
    // The sink lists an object twice after an operator moved its offset back.
    if (taken.has(object.key)) continue;
    taken.add(object.key);
    if (planOf(object.key) !== undefined && object.bytes * 2n >= targetBytes) continue;
    keys += object.key.length;
    if (keys > longestKeys) break;
    inputs.push(object);
  }
  return inputs.some(({ key }) => planOf(key) === undefined) ? inputs : [];
}

/** Rows, bytes and row hash of all objects together. */
export function sumOf(objects: readonly Pick<ListedObject, 'rows' | 'bytes' | 'row_hash'>[]): {
  readonly rows: bigint;
  readonly bytes: bigint;
  readonly rowHash: string;
} {
  let [rows, bytes, hash] = [0n, 0n, 0n];
  for (const object of objects) {
    rows += object.rows;
    bytes += object.bytes;
    hash = addRowHashes(hash, BigInt(`0x${object.row_hash}`));
  }
  return { rows, bytes, rowHash: formatRowHash(hash) };
}

type Cut = Pick<ListedObject, 'from_offset' | 'to_offset'>;

/** The offsets of the objects' cuts as half-open ranges, in order; adjacent ranges are joined. */
function rangesOf(objects: readonly Cut[]): readonly { readonly from: bigint; readonly to: bigint }[] {
  const sorted = [...objects].sort((a, b) => (a.from_offset < b.from_offset ? -1 : 1));
  const ranges: { from: bigint; to: bigint }[] = [];
  for (const { from_offset: from, to_offset: to } of sorted) {
    const last = ranges.at(-1);
    if (last === undefined || from > last.to) ranges.push({ from, to });
    else if (to > last.to) last.to = to;
  }
  return ranges;
}

/** The cuts as text: `0-100,150-200`. */
export function cutsOf(objects: readonly Cut[]): string {
  return rangesOf(objects)
    .map(({ from, to }) => `${from}-${to}`)
    .join(',');
}

/** The range from the start of the first cut to the end of the last. */
export function hullOf(objects: readonly Cut[]): Cut {
  const ranges = rangesOf(objects);
  return { from_offset: ranges[0]?.from ?? 0n, to_offset: ranges.at(-1)?.to ?? 0n };
}
