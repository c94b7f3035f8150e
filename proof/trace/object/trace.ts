import { planOf } from '../../../core/archive/keys.ts';
import { tables } from '../../../core/archive/rows/tables.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { formatLsn } from '../../../core/values/lsn.ts';
import { duckdbHash } from '../../../core/values/rowhash/rowhash.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { topic as topicEntry } from '../../../schemas/topics.ts';
import { Files } from '../../archive/files.ts';
import { RowReader } from '../../archive/logged.ts';
import { readRaw } from '../../reading/topic.ts';
import { boundsOf } from '../find.ts';
import type { TraceSources, TradeId } from '../sources.ts';
import { allColumns, differencesOf, readTexts, selectTexts, shown, type Texts, textsOf } from '../texts.ts';
import { type TraceFinding, Trail } from '../trail.ts';
import { footer, parquetGroups, placeOf, type RowGroup, type RowPosition } from './groups.ts';
import { ObjectListing, type ObjectView, viewOf } from './listing.ts';
import { Manifests, type ManifestView } from './manifest.ts';
import type { ObjectName } from './name.ts';

/** The origin of an object. */
export interface ObjectTrace {
  readonly name: ObjectName;
  /** Its record in the archive's list; null if it is not listed. */
  readonly listed: ObjectView | null;
  /** Other objects of the same cut: same offsets, other days. */
  readonly siblings: readonly ObjectView[];
  /** The newest manifest of its day; null if there is none. */
  readonly manifest: ManifestView | null;
  /** The content of the file, read by DuckDB; null if it cannot be read. */
  readonly file: FileView | null;
  /** The state of its records in the log now. */
  readonly log: { readonly start: bigint; readonly end: bigint; readonly holds: 'all' | 'some' | 'none' } | null;
  /** The requested row. */
  readonly row: RowInFile | null;
  readonly findings: readonly TraceFinding[];
  readonly ok: boolean;
}

export interface FileView {
  readonly bytes: bigint;
  /** `millrace.…` metadata of the footer. */
  readonly footer: Readonly<Record<string, string>>;
  readonly rowGroups: readonly RowGroup[];
  readonly rows: bigint;
  readonly rowHash: string;
  /** Least and greatest LSN of its rows; null if none has one. */
  readonly lsn: { readonly first: string; readonly last: string } | null;
  /** Least and greatest commit time in Postgres. */
  readonly sourceTime: { readonly first: string; readonly last: string } | null;
  /** Rows by operation; null for derived records. */
  readonly operations: readonly { readonly op: string | null; readonly rows: bigint }[];
}

export interface RowInFile {
  readonly offset: bigint;
  readonly place: RowPosition | null;
  /** Data and lineage columns; null if the file does not hold the offset. */
  readonly row: Readonly<Record<string, string | null>> | null;
  /** Whether the record in the log is equal; null if the log has deleted it. */
  readonly equal: boolean | null;
  /** The trade or candle that the row belongs to, for the next trace. */
  readonly trade: TradeId | null;
  readonly candle: {
    readonly venue: string;
    readonly symbol: string;
    readonly interval: string;
    readonly windowStart: bigint;
    readonly revision: number;
  } | null;
}

/** Traces an object of the archive back to the log. Reads one object. */
export async function traceObject(sources: TraceSources, name: ObjectName, offset?: bigint): Promise<ObjectTrace> {
  const { log, bucket } = sources;
  const trail = new Trail();
  const listing = new ObjectListing(sources, trail, name.topic);
  const objects = await listing.of(name.partition);
  const record = objects.find(({ key }) => key === name.key);
  const siblings = objects.filter(
    (each) => each !== record && each.from_offset === record?.from_offset && each.to_offset === record.to_offset,
  );
  if (record === undefined) await unlisted(sources, trail, name, listing);
  await using files = await Files.download(sources.store, name.topic, [record ?? strayOf(name)]);
  if (record !== undefined) for (const what of files.differences.examples) trail.difference(what);
  const file = await readFile(sources, trail, files, name, record);
  const bounds = await boundsOf(log, name.topic, name.partition);
  const row = offset === undefined || file === null ? null : await readRow(sources, trail, files, name, file, offset);
  return {
    name,
    listed: record === undefined ? null : viewOf(bucket, record),
    manifest: record === undefined ? null : await new Manifests(sources, trail).of(record),
    siblings: siblings.map((each) => viewOf(bucket, each)),
    file,
    log: bounds === undefined ? null : { ...bounds, holds: holdsOf(bounds, record) },
    row,
    findings: trail.findings,
    ok: trail.ok,
  };
}

function holdsOf(
  { start, end }: { start: bigint; end: bigint },
  record: ArchiveObject | undefined,
): 'all' | 'some' | 'none' {
  if (record === undefined || record.last_offset < start || record.first_offset >= end) return 'none';
  return record.first_offset >= start && record.last_offset < end ? 'all' : 'some';
}

/** Explains an unlisted object: its cut is in progress, another Kafka made it, or another program put it there. */
async function unlisted(
  { log, store }: TraceSources,
  trail: Trail,
  { key, topic, partition, epoch }: ObjectName,
  listing: ObjectListing,
): Promise<void> {
  const by = await listing.replaced(partition, key);
  if (by !== undefined) {
    trail.gone(
      `${key} ${fates[by.kind]}: archive.replacements offset ${by.offset}; it may be in the bucket until millrace compact removes it`,
    );
    return;
  }
  const objects = await listing.of(partition);
  if ((await store.head(key)) === undefined) {
    trail.difference(`${key} is not in the bucket, and no record lists it`);
    return;
  }
  const committed = (await log.committed(groupOf('parquet'), topic)).find((each) => each.partition === partition);
  if (committed?.metadata.includes('"end"') === true) {
    trail.pending(`${key} is in the bucket and not listed yet: a cut of its partition is being finished`);
    return;
  }
  if (planOf(key) !== undefined) {
    trail.pending(
      `${key} is in the bucket and of a compaction that has not listed it; millrace compact finishes it, or removes it`,
    );
    return;
  }
  const epochs = new Set(objects.map((each) => each.epoch));
  const foreign =
    epochs.size > 0 && !epochs.has(epoch) ? `; it is of the epoch ${epoch}, this log of ${[...epochs].join(', ')}` : '';
  trail.difference(`${key} is in the bucket, but no record lists it${foreign}`);
}

const fates = {
  COMPACTED: 'was replaced by a compaction',
  EXPIRED: 'has expired with its day',
  LOST: 'was gone or damaged, nothing can produce it again, and its rows are lost',
} as const;

/** A record for the download of an object without one: only its key counts. */
function strayOf({ key, topic, partition, day, epoch, firstOffset }: ObjectName): ArchiveObject {
  return {
    key,
    epoch,
    topic,
    partition,
    day,
    from_offset: firstOffset,
    to_offset: firstOffset,
    first_offset: firstOffset,
    last_offset: firstOffset,
    rows: 0n,
    row_hash: '',
    sha256: '',
    bytes: 0n,
    dead_letters: 0n,
    schema_id: 0,
    writer_version: 0,
  };
}

async function readFile(
  { store }: TraceSources,
  trail: Trail,
  files: Files,
  { key, topic, partition }: ObjectName,
  record: ArchiveObject | undefined,
): Promise<FileView | null> {
  const head = await store.head(key);
  const rowGroups = head === undefined ? [] : await parquetGroups(files).catch(() => []);
  if (head === undefined || rowGroups.length === 0) return null;
  const [found] = await files.query(
    `SELECT count(*) AS n, count(DISTINCT _offset) AS offsets, min(_offset) AS first, max(_offset) AS last, min(_partition) AS low, max(_partition) AS high,
            min(_lsn) AS first_lsn, max(_lsn) AS last_lsn, epoch_us(min(_source_time)) AS first_time, epoch_us(max(_source_time)) AS last_time,
            ${duckdbHash.sum(tables[topic].columns)} AS hash FROM archived`,
  );
  const rowHash = BigInt(String(found?.['hash'] ?? 0))
    .toString(16)
    .padStart(16, '0');
  const operations = await files.query(
    'SELECT _op AS op, count(*) AS n FROM archived GROUP BY 1 ORDER BY 1 NULLS LAST',
  );
  if (record !== undefined) {
    const pairs: [string, unknown, unknown][] = [
      ['rows', found?.['n'], record.rows],
      ['distinct offsets', found?.['offsets'], record.rows],
      ['first offset', found?.['first'], record.first_offset],
      ['last offset', found?.['last'], record.last_offset],
      ['partition', found?.['low'], partition],
      ['partition', found?.['high'], partition],
      ['row hash', rowHash, record.row_hash],
    ];
    for (const [what, is, says] of pairs) {
      if (String(is) !== String(says)) trail.difference(`${key} has ${what} ${is}, its record says ${says}`);
    }
  }
  return {
    bytes: BigInt(head.bytes),
    footer: await footer(files),
    rowGroups,
    rows: found?.['n'] as bigint,
    rowHash,
    lsn: pair(found?.['first_lsn'], found?.['last_lsn'], formatLsn),
    sourceTime: pair(found?.['first_time'], found?.['last_time'], formatTimestamp),
    operations: operations.map(({ op, n }) => ({ op: op as string | null, rows: n as bigint })),
  };
}

function pair(first: unknown, last: unknown, text: (value: bigint) => string): { first: string; last: string } | null {
  return typeof first === 'bigint' && typeof last === 'bigint' ? { first: text(first), last: text(last) } : null;
}

async function readRow(
  sources: TraceSources,
  trail: Trail,
  files: Files,
  { key, topic, partition }: ObjectName,
  { rowGroups }: FileView,
  offset: bigint,
): Promise<RowInFile> {
  const columns = allColumns(topic);
  const rows = await files.query(
    `SELECT ${selectTexts('duckdb', columns)}, file_row_number AS n FROM read_parquet('${files.pathOf(0)}', file_row_number = true)
      WHERE _partition = ${partition} AND _offset = ${offset} ORDER BY n`,
  );
  const [found] = rows;
  if (found === undefined) {
    trail.difference(`${key} does not hold offset ${offset}`);
    return { offset, place: null, row: null, equal: null, trade: null, candle: null };
  }
  if (rows.length > 1) trail.difference(`${key} holds offset ${offset} ${rows.length} times`);
  const texts = readTexts(columns, found);
  const logged = await recordAt(sources, topic, partition, offset);
  if (logged === undefined) trail.gone(`${topic}/${partition} offset ${offset} is no longer in the log`);
  else if (logged === null) trail.difference(`${key}, offset ${offset}: archived, but not a row of the log`);
  const different = logged === undefined || logged === null ? [] : differencesOf(columns, texts, logged, 'in the log');
  if (different.length > 0) trail.difference(`${key}, offset ${offset}: ${different.join(', ')}`);
  const { venue = '', symbol = '', trade_id = '', interval = '', window_start = '0', revision = '0' } = texts;
  return {
    offset,
    place: placeOf(rowGroups, found['n'] as bigint),
    row: shown(columns, texts),
    equal: logged === undefined ? null : logged !== null && different.length === 0,
    trade: topic === 'cdc.public.trades' ? { venue, symbol, trade_id } : null,
    candle:
      topic === 'market.candles'
        ? { venue, symbol, interval, windowStart: BigInt(window_start), revision: Number(revision) }
        : null,
  };
}

/**
 * The archived row that a record must have; undefined if the log has deleted the record, also by compaction; null if it has no such row.
 */
async function recordAt(
  { log, schemas, signal }: TraceSources,
  topic: ObjectName['topic'],
  partition: number,
  offset: bigint,
): Promise<Texts | null | undefined> {
  const bounds = await boundsOf(log, topic, partition);
  if (bounds === undefined || offset < bounds.start) return undefined;
  if (offset >= bounds.end) return null;
  const reader = new RowReader(schemas, topic, allColumns(topic));
  const range = { partition, from: offset, to: offset + 1n };
  for await (const { records } of readRaw(log, topic, signal, range)) {
    await reader.prepare(records);
    const [record] = records;
    const row = record === undefined ? undefined : reader.row(partition, record);
    if (row !== undefined) return textsOf(allColumns(topic), row);
    if (record !== undefined) return null;
  }
  return topicEntry(topic).cleanup === 'compact' ? undefined : null;
}
