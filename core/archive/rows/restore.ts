import { MillraceError } from '../../base/errors.ts';
import type { LogRecord } from '../../log/log.ts';
import { redrivenHeaders } from '../../log/redriven.ts';
import type { ColumnValue, TypedColumn } from '../../values/rowhash/rowhash.ts';
import { formatTimestamp } from '../../values/time.ts';
import { damaged } from '../damaged.ts';
import { expectedRow, parseRest, sequenceOf } from './origin.ts';
import { recordReader } from './records.ts';
import { type Change, columnsWithLineage, type Table } from './tables.ts';

/** A record of the log as the archive's row gives it back: the value by the table's schema. */
export interface Restored extends Pick<LogRecord, 'offset' | 'timestamp' | 'headers'> {
  readonly value: object;
}

/**
 * @param row values in the order of `restoredColumns`
 * @param hasBefore whether its file has the row before each change
 * @throws MillraceError ARCHIVE_DAMAGED: no row of ours; REPLAY_IMPOSSIBLE: an update in a file without the row before it.
 */
export type Restore = (row: readonly ColumnValue[], hasBefore: boolean) => Restored;

const beforePrefix = 'before_';

/** The columns that a record is made of: data and lineage, and of a topic of changes the row before, which not every file has. */
export function restoredColumns(table: Table): readonly TypedColumn[] {
  const columns = columnsWithLineage(table);
  if (table.before === undefined) return columns;
  return [...columns, ...table.columns.map(({ name, type }) => ({ name: beforePrefix + name, type }))];
}

/**
 * The inverse of what the sink does with a record: its decoded value, timestamp and the headers that matter. Equal in every field of the
 * table's schema; a text that stands for an instant is in our own spelling.
 */
export function restorer(table: Table): Restore {
  const columns = restoredColumns(table);
  const at = new Map(columns.map(({ name }, i) => [name, i]));
  const offsetAt = indexOf(at, '_offset');
  const timestampAt = indexOf(at, '_timestamp');
  const restAt = indexOf(at, '_rest');
  const value = table.before === undefined ? derived(table, columns) : change(table, columns, at);
  return (row, hasBefore) => {
    const [offset, timestamp] = [row[offsetAt], row[timestampAt]];
    if (typeof offset !== 'bigint' || typeof timestamp !== 'bigint') {
      throw damaged(`a row of ${table.topic} without its offset or timestamp`);
    }
    const { redriven } = parseRest(row[restAt] as string | null);
    const restored = { offset, timestamp: timestamp / 1000n, value: value(row, hasBefore) };
    return redriven === undefined ? restored : { ...restored, headers: redrivenHeaders(redriven) };
  };
}

type ReadValue = (row: readonly ColumnValue[], hasBefore: boolean) => object;

function derived(table: Table, columns: readonly TypedColumn[]): ReadValue {
  const read = recordReader(table.schema, columns);
  return (row) => {
    const value = read(row);
    if (value === null) throw damaged(`a row of ${table.topic} without data`);
    return value;
  };
}

function change(table: Table, columns: readonly TypedColumn[], at: ReadonlyMap<string, number>): ReadValue {
  const rowSchema = (table.schema as { fields: readonly { type: readonly unknown[] }[] }).fields[0]?.type[1] as object;
  const format = { executed_at: (value: ColumnValue) => formatTimestamp(value as bigint) };
  const readData = recordReader(rowSchema, columns, { format });
  const readBefore = recordReader(rowSchema, columns, { format, prefix: beforePrefix });
  const [lsnAt, opAt, timeAt, txAt, commitAt, snapshotAt, restAt] = [
    '_lsn',
    '_op',
    '_source_time',
    '_tx_id',
    '_commit_lsn',
    '_snapshot',
    '_rest',
  ].map((name) => indexOf(at, name)) as [number, number, number, number, number, number, number];
  return (row, hasBefore): Change => {
    const op = row[opAt];
    if (typeof op !== 'string') throw damaged(`a change of ${table.topic} without its operation`);
    const lsn = row[lsnAt] as bigint | null;
    const commitLsn = row[commitAt] as bigint | null;
    const rest = parseRest(row[restAt] as string | null);
    const data = readData(row);
    const isBefore = (rest.row ?? expectedRow(op)) === 'before';
    if (!hasBefore && op === 'u' && !isBefore) throw withoutBefore(table.topic, row[indexOf(at, '_offset')]);
    return {
      before: isBefore ? data : readBefore(row),
      after: isBefore ? null : data,
      op,
      source: {
        ts_us: row[timeAt] as bigint,
        snapshot: row[snapshotAt] as string | null,
        sequence: rest.sequence ?? (commitLsn === null || lsn === null ? null : sequenceOf(commitLsn, lsn)),
        txId: row[txAt] as bigint | null,
        lsn,
      },
    };
  };
}

function indexOf(at: ReadonlyMap<string, number>, name: string): number {
  const found = at.get(name);
  if (found === undefined) throw new TypeError(`the archive has no column ${name}`);
  return found;
}

function withoutBefore(topic: string, offset: unknown): MillraceError {
  return new MillraceError(
    'REPLAY_IMPOSSIBLE',
    `the archive has the update at offset ${String(offset)} of ${topic} without the row before it`,
    {
      remedy: `name ${topic} in parquet.changeLogTopics, which helps for what is archived from then on; until then replay what the log has`,
    },
  );
}
