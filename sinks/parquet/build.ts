import { createHash } from 'node:crypto';
import { setImmediate as yieldLoop } from 'node:timers/promises';
import { lineageColumns, type Table } from '../../core/archive/tables.ts';
import { ParquetFile, writerVersion } from '../../core/archive/writing/writer.ts';
import { type AvroDecoder, schemaIdOf } from '../../core/avro/decoder.ts';
import { fits } from '../../core/decimal.ts';
import { MillraceError } from '../../core/errors.ts';
import { type ColumnValue, RowHash, type TypedColumn } from '../../core/rowhash.ts';
import { prepareDecoder, valuesOf } from '../../core/runtime/decoding.ts';
import type { LogRecord, TopicPartition } from '../../core/runtime/log.ts';
import { DAY, floorTo, formatDay } from '../../core/time.ts';

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

/** A record of the cut that is no row. */
export interface Refused {
  readonly record: LogRecord;
  readonly error: MillraceError;
}

export interface Built {
  /** By day. */
  readonly objects: readonly BuiltObject[];
  /** In offset order. */
  readonly refused: readonly Refused[];
  /** Newest schema id of the rows; 0 without rows. */
  readonly schemaId: number;
}

/** How many records are taken before others get a turn: group heartbeats must go on. */
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
 * Makes the objects of a range of records: a pure function of the records, their partition and, when it is given, the schema id.
 *
 * @param schemaId of a cut that was planned before
 */
export async function buildObjects(
  table: Table,
  at: TopicPartition,
  records: Iterable<LogRecord>,
  decoder: AvroDecoder<object>,
  options: { readonly schemaId?: number; readonly signal: AbortSignal },
): Promise<Built> {
  /** By the day's first microsecond. */
  const days = new Map<bigint, DayObject>();
  const refused: Refused[] = [];
  const columns = [...table.columns, ...lineageColumns];
  const eventTime = table.columns.findIndex(({ name }) => name === table.eventTime);
  let newest = 0;
  for (const portion of portions(records)) {
    // Buffered records may be older than what the decoder remembers of ids that nobody knows.
    await prepareDecoder(decoder, valuesOf(portion), options.signal);
    for (const record of portion) {
      try {
        const row = rowOf(table, at, record, decoder);
        const day = floorTo(dayTime(row, eventTime, table.columns.length), DAY);
        let object = days.get(day);
        if (object === undefined) {
          object = new DayObject(table, columns, formatDay(day), record.offset);
          days.set(day, object);
        }
        object.add(row, record.offset);
        newest = Math.max(newest, schemaIdOf(record.value as Buffer) ?? 0);
      } catch (error) {
        if (!(error instanceof MillraceError) || error.disposition !== 'deadLetter') throw error;
        refused.push({ record, error });
      }
    }
    await yieldLoop();
    options.signal.throwIfAborted();
  }
  const schemaId = options.schemaId ?? newest;
  const objects: BuiltObject[] = [];
  for (const [, object] of [...days].sort(([a], [b]) => (a < b ? -1 : 1))) {
    objects.push(object.finish(at, schemaId));
    await yieldLoop();
  }
  return { objects, refused, schemaId };
}

function rowOf(table: Table, at: TopicPartition, record: LogRecord, decoder: AvroDecoder<object>): ColumnValue[] {
  if (record.unreadable !== undefined) throw record.unreadable;
  if (record.value === null) throw new MillraceError('BAD_RECORD', 'the record has no value');
  const value = decoder.decode(record.value);
  const { op, lsn, sourceTime, txId } = table.lineage(value, record.timestamp);
  const data = table.row(value);
  const row: ColumnValue[] = table.columns.map((column) => (data === undefined ? null : column.read(data)));
  for (let i = 0; i < table.columns.length; i++) {
    const { name, type } = table.columns[i] as TypedColumn;
    const units = row[i];
    if (type.kind === 'decimal' && typeof units === 'bigint' && !fits(units, type.precision)) {
      throw new MillraceError('BAD_RECORD', `${name} has more than ${type.precision} digits`);
    }
  }
  row.push(at.topic, at.partition, record.offset, lsn, op, sourceTime, txId);
  return row;
}

/** The event time; of a change without a row, such as a truncate, the commit time. */
function dayTime(row: readonly ColumnValue[], eventTime: number, dataColumns: number): bigint {
  const time = (row[eventTime] ?? row[dataColumns + sourceTimeAt]) as bigint;
  if (time < firstTime || time >= endOfTime) throw new MillraceError('BAD_RECORD', `no day has the time ${time}`);
  return time;
}

/** Years 0000 to 9999: what a day's name has room for. */
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

  constructor(table: Table, columns: readonly TypedColumn[], day: string, firstOffset: bigint) {
    this.#table = table;
    this.#day = day;
    this.#firstOffset = firstOffset;
    this.#file = new ParquetFile(columns);
  }

  add(row: readonly ColumnValue[], offset: bigint): void {
    this.#file.add(row);
    this.#hash.add(this.#table.columns, row);
    this.#lastOffset = offset;
  }

  finish(at: TopicPartition, schemaId: number): BuiltObject {
    const rowHash = this.#hash.toString();
    const bytes = this.#file.finish({
      'millrace.topic': at.topic,
      'millrace.partition': String(at.partition),
      'millrace.first_offset': this.#firstOffset.toString(),
      'millrace.last_offset': this.#lastOffset.toString(),
      'millrace.schema_id': String(schemaId),
      'millrace.writer_version': String(writerVersion),
      'millrace.row_hash': rowHash,
    });
    return {
      day: this.#day,
      firstOffset: this.#firstOffset,
      lastOffset: this.#lastOffset,
      rows: this.#hash.rows,
      rowHash,
      bytes,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    };
  }
}
