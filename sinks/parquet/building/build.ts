import { setImmediate as yieldLoop } from 'node:timers/promises';
import { lineageColumns, lineageOfVersion, lineageValues, type Table } from '../../../core/archive/rows/tables.ts';
import type { TableDecoder } from '../../../core/archive/writing/decoder.ts';
import { Projection } from '../../../core/archive/writing/projection.ts';
import type { FileColumn, FileValue } from '../../../core/archive/writing/source-columns.ts';
import { type Form, flattened, ParquetFile } from '../../../core/archive/writing/writer.ts';
import { schemaIdOf } from '../../../core/avro/decoder.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { prepareDecoder, valuesOf } from '../../../core/log/decoding.ts';
import type { LogRecord, TopicPartition } from '../../../core/log/log.ts';
import { type ColumnValue, RowHash } from '../../../core/values/rowhash/rowhash.ts';
import { sha256Of } from '../../../core/values/sha256.ts';
import { DAY, floorTo, formatDay } from '../../../core/values/time.ts';
import type { RecordBuffer } from './buffer.ts';

/** One finished object of a cut. */
export interface BuiltObject {
  readonly day: string;
  readonly firstOffset: bigint;
  readonly lastOffset: bigint;
  readonly rows: number;
  readonly rowHash: string;
  readonly bytes: Buffer;
  readonly sha256: string;
}

/** A record of the cut that is not a row. */
export interface RefusedRecord {
  readonly record: LogRecord;
  readonly error: MillraceError;
}

export interface Built {
  /** One for each day. */
  readonly objects: readonly BuiltObject[];
  /** In offset order. */
  readonly refused: readonly RefusedRecord[];
  /** The newest schema id among the readable records; 0 if there is none. */
  readonly schemaId: number;
}

export interface BuildOptions {
  /** The schema id of a cut that was planned before. */
  readonly schemaId?: number;
  /** Default `flattened`. */
  readonly form?: Form;
  readonly signal: AbortSignal;
}

/** Records processed before the event loop runs other work, such as group heartbeats. */
const recordsPerTurn = 5_000;

function* portions(records: Iterable<LogRecord>): Generator<LogRecord[]> {
  let portion: LogRecord[] = [];
  for (const record of records) {
    portion.push(record);
    if (portion.length < recordsPerTurn) continue;
    yield portion;
    portion = [];
  }
  if (portion.length > 0) yield portion;
}

/**
 * Builds the objects of a range of records: a pure function of the records, their partition, the form and the schema id if given. The
 * records of the range alone decide the schemas, and so the columns.
 */
export async function buildObjects(
  table: Table,
  at: TopicPartition,
  records: RecordBuffer,
  decoder: TableDecoder,
  options: BuildOptions,
): Promise<Built> {
  const { form = flattened, signal } = options;
  /** Key: the day's first microsecond. */
  const days = new Map<bigint, DayObject>();
  const refused: RefusedRecord[] = [];
  // Buffered records can be older than the decoder's memory of unknown schema ids.
  await prepareDecoder(decoder, records.headers.values(), signal);
  const projection = new Projection(table, decoder, records.headers.keys(), form);
  const rows = new RowBuilder(table, at, decoder, projection, form);
  for (const portion of portions(records)) {
    await prepareDecoder(decoder, valuesOf(portion), signal);
    for (const record of portion) {
      try {
        const row = rows.of(record);
        const day = floorTo(rows.time(row), DAY);
        let object = days.get(day);
        if (object === undefined) {
          object = new DayObject(table, projection.columns, form, formatDay(day), record.offset);
          days.set(day, object);
        }
        object.add(row, record.offset);
      } catch (error) {
        if (!(error instanceof MillraceError) || error.disposition !== 'deadLetter') throw error;
        refused.push({ record, error });
      }
    }
    await yieldLoop();
    signal.throwIfAborted();
  }
  const schemaId = options.schemaId ?? projection.schemaIds.at(-1) ?? 0;
  const footer = footerOf(at, projection, decoder, form, schemaId);
  const objects: BuiltObject[] = [];
  for (const [, object] of [...days].sort(([a], [b]) => (a < b ? -1 : 1))) {
    objects.push(object.finish(footer));
    await yieldLoop();
  }
  return { objects, refused, schemaId };
}

/** Metadata for the footers of all objects of a cut. */
function footerOf(
  { topic, partition }: TopicPartition,
  { schemaIds }: Projection,
  decoder: TableDecoder,
  { version, sourceColumns }: Form,
  schemaId: number,
): Readonly<Record<string, string>> {
  const footer = {
    'millrace.topic': topic,
    'millrace.partition': String(partition),
    'millrace.schema_id': String(schemaId),
    'millrace.writer_version': String(version),
  };
  if (!sourceColumns) return footer;
  return {
    ...footer,
    'millrace.schema_ids': schemaIds.join(','),
    'millrace.avro_schema': JSON.stringify(decoder.writerOf(schemaId) ?? null),
  };
}

/** Turns records into rows, with the projection's column order. It reuses one row for all records. */
class RowBuilder {
  readonly #table: Table;
  readonly #at: TopicPartition;
  readonly #decoder: TableDecoder;
  readonly #projection: Projection;
  readonly #row: FileValue[];
  readonly #eventTime: number;
  readonly #sourceTime: number;

  constructor(table: Table, at: TopicPartition, decoder: TableDecoder, projection: Projection, { version }: Form) {
    this.#table = table;
    this.#at = at;
    this.#decoder = decoder;
    this.#projection = projection;
    this.#eventTime = table.columns.findIndex(({ name }) => name === table.eventTime);
    const { columns } = projection;
    this.#row = columns.map(() => null);
    this.#sourceTime = columns.length - lineageOfVersion(version).length + sourceTimeAt;
  }

  /** @throws MillraceError: the record becomes a dead letter */
  of(record: LogRecord): readonly FileValue[] {
    if (record.unreadable !== undefined) throw record.unreadable;
    if (record.value === null) throw new MillraceError('BAD_RECORD', 'the record has no value');
    const table = this.#table;
    const row = this.#row;
    const value = this.#decoder.decode(record.value);
    const lineage = lineageValues(table, this.#at, record, value);
    const { own, source, before } = this.#projection.reading(schemaIdOf(record.value) ?? 0);
    const data = table.row(value);
    let at = 0;
    for (const read of own) row[at++] = data === undefined ? null : read(data);
    for (const read of source) row[at++] = data === undefined ? null : read(data);
    // Most changes are inserts: an absent row costs no function call.
    const old = before.length === 0 ? undefined : table.before?.(value);
    for (const read of before) row[at++] = old === undefined ? null : read(old);
    // An earlier writer version has the first columns of the newest.
    for (let i = 0; at < row.length; i++) row[at++] = lineage[i] as ColumnValue;
    return row;
  }

  /** The event time, microseconds. For a change without a row, such as a truncate, the commit time. */
  time(row: readonly FileValue[]): bigint {
    const time = (row[this.#eventTime] ?? row[this.#sourceTime]) as bigint;
    if (time < firstTime || time >= endOfTime) throw new MillraceError('BAD_RECORD', `no day has the time ${time}`);
    return time;
  }
}

/** Years 0000 to 9999: the name of a day has four digits for the year. */
const firstTime = -62_167_219_200_000_000n;
const endOfTime = 253_402_300_800_000_000n;

const sourceTimeAt = lineageColumns.findIndex(({ name }) => name === '_source_time');

class DayObject {
  readonly #table: Table;
  readonly #day: string;
  readonly #firstOffset: bigint;
  readonly #file: ParquetFile;
  readonly #hash = new RowHash();
  #lastOffset = 0n;

  constructor(table: Table, columns: readonly FileColumn[], form: Form, day: string, firstOffset: bigint) {
    this.#table = table;
    this.#day = day;
    this.#firstOffset = firstOffset;
    this.#file = new ParquetFile(columns, form);
  }

  add(row: readonly FileValue[], offset: bigint): void {
    this.#file.add(row);
    // The hash covers only the table's columns, which come first in a row: all stores have them, so they can be compared.
    this.#hash.add(this.#table.columns, row as readonly ColumnValue[]);
    this.#lastOffset = offset;
  }

  /** @param footer common metadata of the cut's objects */
  finish(footer: Readonly<Record<string, string>>): BuiltObject {
    const rowHash = this.#hash.toString();
    const { 'millrace.topic': topic = '', 'millrace.partition': partition = '', ...schema } = footer;
    const bytes = this.#file.finish({
      'millrace.topic': topic,
      'millrace.partition': partition,
      'millrace.first_offset': this.#firstOffset.toString(),
      'millrace.last_offset': this.#lastOffset.toString(),
      ...schema,
      'millrace.row_hash': rowHash,
    });
    return {
      day: this.#day,
      firstOffset: this.#firstOffset,
      lastOffset: this.#lastOffset,
      rows: this.#hash.rows,
      rowHash,
      bytes,
      sha256: sha256Of(bytes),
    };
  }
}
