/**
 * Manifests: the objects of one day of one topic, as a file that readers without Kafka can follow. Their bytes are a function of what
 * they hold alone: files in order of partition and first offset, fields in a fixed order, 64-bit integers as text, no time and no host.
 * Whoever changes that makes a new format.
 */
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivedRange, ArchivePartition, WrittenGroup } from '../../schemas/gen/archive_partition.ts';
import type { ArchiveReplacement } from '../../schemas/gen/archive_replacement.ts';
import { MillraceError } from '../base/errors.ts';
import { addRowHashes, formatRowHash } from '../values/rowhash/rowhash.ts';
import { formatTimestamp } from '../values/time.ts';
import { planOf } from './keys.ts';
import { objectsOf } from './replacements.ts';

export const manifestFormat = 1;

/** What a manifest tells of an object. */
export type ManifestFile = Omit<ArchiveObject, 'epoch' | 'topic' | 'day' | 'dead_letters'>;

export interface Manifest {
  readonly epoch: string;
  readonly topic: string;
  /** `YYYY-MM-DD` */
  readonly day: string;
  /** From 1. The manifest before it has the number before. */
  readonly number: number;
  /** By partition of the topic's objects topic: first offset after the records that are taken into account. */
  readonly covers: readonly bigint[];
  /** First offset of archive.replacements after the records that are taken into account; not written while it is 0n. */
  readonly replacements: bigint;
  /** Rows that were in files which are lost; not written while it is 0n. */
  readonly lostRows: bigint;
  /** By partition and first offset. */
  readonly files: readonly ManifestFile[];
}

/** What the files of a day come to. */
export type Totals = Pick<ArchivePartition, 'files' | 'rows' | 'bytes' | 'row_hash' | 'partitions'>;

export function totalsOf(files: readonly ManifestFile[]): Totals {
  const ranges = new Map<number, ArchivedRange>();
  let [rows, bytes, hash] = [0n, 0n, 0n];
  for (const { partition, first_offset, last_offset, ...file } of files) {
    rows += file.rows;
    bytes += file.bytes;
    hash = addRowHashes(hash, BigInt(`0x${file.row_hash}`));
    const range = ranges.get(partition);
    ranges.set(partition, {
      partition,
      first_offset: range === undefined || first_offset < range.first_offset ? first_offset : range.first_offset,
      last_offset: range === undefined || last_offset > range.last_offset ? last_offset : range.last_offset,
      files: (range?.files ?? 0n) + 1n,
      rows: (range?.rows ?? 0n) + file.rows,
    });
  }
  return {
    files: BigInt(files.length),
    rows,
    bytes,
    row_hash: formatRowHash(hash),
    partitions: [...ranges.values()].sort((a, b) => a.partition - b.partition),
  };
}

/**
 * The files with those of further records, in order. A record that was there already, word for word, adds nothing.
 *
 * @param onRepeated told of each of those
 * @throws MillraceError S3_CONFLICT: two records tell different things of one key.
 */
export function withObjects(
  files: readonly ManifestFile[],
  objects: Iterable<ArchiveObject>,
  onRepeated: (key: string) => void = () => undefined,
): readonly ManifestFile[] {
  const byKey = new Map(files.map((file) => [file.key, file]));
  for (const object of objects) {
    const file = fileOf(object);
    const known = byKey.get(file.key);
    if (known === undefined) byKey.set(file.key, file);
    else if (toJson(known) === toJson(file)) onRepeated(file.key);
    else {
      throw new MillraceError('S3_CONFLICT', `${file.key} is listed twice, with different content`, {
        remedy: 'the sink was moved back by hand or its topic made anew: see runbooks/errors/S3_CONFLICT.md',
      });
    }
  }
  return [...byKey.values()].sort(inOrder);
}

/** The files after replacements, in order. Doing it again changes nothing. */
export function withReplacements(
  files: readonly ManifestFile[],
  replacements: readonly ArchiveReplacement[],
): readonly ManifestFile[] {
  if (replacements.length === 0) return files;
  const byKey = new Map(files.map((file) => [file.key, file]));
  for (const object of replacements.flatMap(objectsOf)) byKey.set(object.key, fileOf(object));
  for (const { replaced } of replacements) for (const key of replaced) byKey.delete(key);
  return [...byKey.values()].sort(inOrder);
}

/** The files that the sink wrote, as `ArchivePartition` tells them. */
export function writtenIn(files: readonly ManifestFile[]): readonly WrittenGroup[] {
  const groups = new Map<string, WrittenGroup>();
  for (const { key, partition, schema_id, writer_version, rows, bytes } of files) {
    if (planOf(key) !== undefined) continue;
    const id = `${partition}/${schema_id}/${writer_version}`;
    const group = groups.get(id) ?? { partition, schema_id, writer_version, files: 0n, rows: 0n, bytes: 0n };
    groups.set(id, { ...group, files: group.files + 1n, rows: group.rows + rows, bytes: group.bytes + bytes });
  }
  return [...groups.values()];
}

/** Rows of the files that replacements say are lost. */
export function lostRowsOf(replacements: readonly ArchiveReplacement[]): bigint {
  return replacements.reduce((sum, { kind, rows }) => (kind === 'LOST' ? sum + rows : sum), 0n);
}

function inOrder(a: ManifestFile, b: ManifestFile): number {
  if (a.partition !== b.partition) return a.partition - b.partition;
  if (a.first_offset !== b.first_offset) return a.first_offset < b.first_offset ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}

function fileOf(object: ArchiveObject): ManifestFile {
  return {
    key: object.key,
    partition: object.partition,
    from_offset: object.from_offset,
    to_offset: object.to_offset,
    first_offset: object.first_offset,
    last_offset: object.last_offset,
    rows: object.rows,
    row_hash: object.row_hash,
    sha256: object.sha256,
    bytes: object.bytes,
    schema_id: object.schema_id,
    writer_version: object.writer_version,
  };
}

/** JSON, one file a line. */
export function formatManifest(manifest: Manifest): Buffer {
  const { epoch, topic, day, number, covers, replacements, lostRows, files } = manifest;
  const head = {
    format: manifestFormat,
    epoch,
    topic,
    day,
    manifest: number,
    previous: number === 1 ? null : number - 1,
    covers,
    ...(replacements === 0n ? {} : { replacements }),
    totals: totalsOf(files),
    ...(lostRows === 0n ? {} : { lost_rows: lostRows }),
  };
  const lines = Object.entries(head).map(([name, value]) => `  ${toJson(name)}: ${toJson(value)},\n`);
  const list = files.map((file) => `    ${toJson(file)}`).join(',\n');
  return Buffer.from(`{\n${lines.join('')}  "files": [${list === '' ? '' : `\n${list}\n  `}]\n}\n`);
}

/** @throws MillraceError CUT_UNREADABLE: not of this format. */
export function parseManifest(bytes: Buffer): Manifest {
  try {
    const parsed = JSON.parse(bytes.toString('utf8')) as Written;
    if (parsed.format !== manifestFormat) throw new TypeError(`format ${String(parsed.format)}`);
    const { epoch, topic, day, manifest: number, covers, replacements = '0', lost_rows = '0', files } = parsed;
    const positions = { covers: covers.map(BigInt), replacements: BigInt(replacements) };
    return { epoch, topic, day, number, ...positions, lostRows: BigInt(lost_rows), files: files.map(readFile) };
  } catch (cause) {
    throw new MillraceError('CUT_UNREADABLE', `this version cannot read the manifest: ${(cause as Error).message}`, {
      cause,
      remedy: 'run the version of Millrace that wrote it, or a newer one',
    });
  }
}

interface Written {
  readonly format: unknown;
  readonly epoch: string;
  readonly topic: string;
  readonly day: string;
  readonly manifest: number;
  readonly covers: readonly string[];
  readonly replacements?: string;
  readonly lost_rows?: string;
  readonly files: readonly Readonly<Record<keyof ManifestFile, string | number>>[];
}

function readFile(file: Written['files'][number]): ManifestFile {
  return {
    key: String(file.key),
    partition: Number(file.partition),
    from_offset: BigInt(file.from_offset),
    to_offset: BigInt(file.to_offset),
    first_offset: BigInt(file.first_offset),
    last_offset: BigInt(file.last_offset),
    rows: BigInt(file.rows),
    row_hash: String(file.row_hash),
    sha256: String(file.sha256),
    bytes: BigInt(file.bytes),
    schema_id: Number(file.schema_id),
    writer_version: Number(file.writer_version),
  };
}

/** The content of a `_SUCCESS` object: what is in the day, and in which manifest. */
export function formatSuccess(day: ArchivePartition): Buffer {
  const { epoch, topic, revision, manifest, manifest_key, manifest_sha256, passed } = day;
  const { files, rows, bytes, row_hash, partitions, lost_rows } = day;
  const content = {
    format: manifestFormat,
    epoch,
    topic,
    day: day.day,
    revision,
    manifest,
    manifest_key,
    manifest_sha256,
    passed: passed === null ? null : formatTimestamp(passed),
    totals: { files, rows, bytes, row_hash, partitions: partitions.map(rangeOf) },
    ...(lost_rows === 0n ? {} : { lost_rows }),
  };
  const lines = Object.entries(content).map(([name, value]) => `  ${toJson(name)}: ${toJson(value)}`);
  return Buffer.from(`{\n${lines.join(',\n')}\n}\n`);
}

/** Fields in the order that is written, wherever the range comes from. */
function rangeOf({ partition, first_offset, last_offset, files, rows }: ArchivedRange): ArchivedRange {
  return { partition, first_offset, last_offset, files, rows };
}

function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? each.toString() : each));
}
