/** What the archive makes of each archived topic: which record, which columns, which day. The sink writes it, verification reads it. */
import type { Anomaly } from '../../../schemas/gen/anomaly.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import { schemas } from '../../../schemas/gen/index.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { MillraceError } from '../../base/errors.ts';
import { wholeRow } from '../../capture/captured-row.ts';
import type { LogRecord, TopicPartition } from '../../log/log.ts';
import { redrivenOf } from '../../log/redriven.ts';
import type { ColumnValue, TypedColumn } from '../../values/rowhash/rowhash.ts';
import { parseTimestamp } from '../../values/time.ts';
import { type Column, type ColumnOptions, columnsOf } from './columns.ts';
import { commitLsnOf, expectedRow, formatRest } from './origin.ts';

/** Where a row comes from. Null where the topic has no such thing. */
export interface Lineage {
  readonly op: string | null;
  readonly lsn: bigint | null;
  /** Commit time in Postgres, or log time of a derived record; microseconds. */
  readonly sourceTime: bigint;
  readonly txId: bigint | null;
  /** LSN of the last commit before the change, which with the change's own is its sequence; 0 before the first commit. */
  readonly commitLsn: bigint | null;
  /** `source.snapshot` of Debezium. */
  readonly snapshot: string | null;
  /** What else the record was, and no column says. */
  readonly rest: string | null;
}

/** What of a record's envelope is kept. */
export type Origin = Pick<LogRecord, 'timestamp' | 'headers'>;

export interface Table {
  readonly topic: ArchivedTopic;
  /** The schema to decode the topic's values by. */
  readonly schema: object;
  /** The data columns, in schema order: what the row hash covers. */
  readonly columns: readonly Column[];
  /** The record that holds the data columns; undefined when the change has no row. @throws MillraceError BAD_RECORD */
  row(value: object): object | undefined;
  /** Name of the record in `schema` whose fields are the data columns. */
  readonly rowRecord: string;
  /** The row before a change; only of topics of changes. */
  before?(value: object): object | undefined;
  /** The data column with the event time, which decides the day. Null: the rows have none, and the commit time decides. */
  readonly eventTime: string | null;
  lineage(value: object, record: Origin): Lineage;
}

/**
 * Columns that follow the data in every object: where the row came from, and with what else the record can be made again. `_offset` is
 * what makes a row unique within its partition.
 */
export const lineageColumns: readonly TypedColumn[] = Object.freeze([
  { name: '_topic', type: { kind: 'text' } },
  { name: '_partition', type: { kind: 'int' } },
  { name: '_offset', type: { kind: 'long' } },
  { name: '_lsn', type: { kind: 'long' } },
  { name: '_op', type: { kind: 'text' } },
  { name: '_source_time', type: { kind: 'timestamp' } },
  { name: '_tx_id', type: { kind: 'long' } },
  { name: '_timestamp', type: { kind: 'timestamp' } },
  { name: '_commit_lsn', type: { kind: 'long' } },
  { name: '_snapshot', type: { kind: 'text' } },
  { name: '_rest', type: { kind: 'text' } },
]);

/** Those of them that version 1 of the writer had. */
const firstLineageColumns = lineageColumns.slice(0, 7);

export function lineageOfVersion(writerVersion: number): readonly TypedColumn[] {
  return writerVersion === 1 ? firstLineageColumns : lineageColumns;
}

/**
 * The columns that every object of a topic has.
 *
 * @param writerVersion of the oldest one. Default: the newest.
 */
export function columnsWithLineage({ columns }: Table, writerVersion = 2): readonly TypedColumn[] {
  return [...columns, ...lineageOfVersion(writerVersion)];
}

/** Values of the lineage columns. @throws MillraceError BAD_RECORD */
export function lineageValues(
  table: Table,
  { topic, partition }: TopicPartition,
  record: Origin & Pick<LogRecord, 'offset'>,
  value: object,
): ColumnValue[] {
  const { lsn, op, sourceTime, txId, commitLsn, snapshot, rest } = table.lineage(value, record);
  const timestamp = record.timestamp * 1000n;
  return [topic, partition, record.offset, lsn, op, sourceTime, txId, timestamp, commitLsn, snapshot, rest];
}

type CaptureSchema = typeof schemas.trade_change | typeof schemas.instrument_change;

/** The fields that are read of the envelope; they are the same for every captured table. */
export type Change = Pick<TradeChange, 'op' | 'source'> & Readonly<Record<'before' | 'after', object | null>>;

interface CapturedOptions extends Pick<Table, 'rowRecord' | 'eventTime'> {
  readonly topic: Extract<ArchivedTopic, `cdc.${string}`>;
  readonly schema: CaptureSchema;
  /** As of `columnsOf`. */
  readonly parse?: ColumnOptions['parse'];
}

/** The changes of a captured table. */
function captured({ topic, schema, rowRecord, eventTime, parse = {} }: CapturedOptions): Table {
  return {
    topic,
    schema,
    columns: columnsOf(schema.fields[0].type[1], { parse }),
    eventTime,
    rowRecord,
    row(value) {
      const { after, before, op } = value as Change;
      const row = after ?? before;
      return row === null ? undefined : wholeRow(row, op);
    },
    before(value) {
      const { before, op } = value as Change;
      return before === null ? undefined : wholeRow(before, op);
    },
    lineage(value, { headers }) {
      const { op, source, after, before } = value as Change;
      const { lsn, txId, ts_us: sourceTime, sequence, snapshot } = source;
      if (sourceTime === null) throw new MillraceError('BAD_RECORD', 'the change has no commit time (source.ts_us)');
      const commitLsn = commitLsnOf(sequence, lsn);
      const rest = formatRest({
        redriven: redrivenOf(headers),
        sequence: commitLsn === undefined ? (sequence ?? undefined) : undefined,
        row: unexpectedRow(op, before, after),
      });
      return { op, lsn, sourceTime, txId, commitLsn: commitLsn ?? null, snapshot, rest };
    },
  };
}

const trades = captured({
  topic: 'cdc.public.trades',
  schema: schemas.trade_change,
  rowRecord: 'TradeRow',
  eventTime: 'executed_at',
  parse: { executed_at: { type: { kind: 'timestamp' }, value: parseTimestamp } },
});

const instruments = captured({
  topic: 'cdc.public.instruments',
  schema: schemas.instrument_change,
  rowRecord: 'InstrumentRow',
  eventTime: null,
});

/** Which row the data columns are, where the operation does not say it. */
function unexpectedRow(op: string, before: object | null, after: object | null): 'before' | 'after' | undefined {
  if (before === null && after === null) return undefined;
  const row = after === null ? 'before' : 'after';
  return row === expectedRow(op) ? undefined : row;
}

/** Of a record that a processor made: it is what its columns say. */
function derived({ timestamp, headers }: Origin, lsn: bigint | null): Lineage {
  const rest = formatRest({ redriven: redrivenOf(headers) });
  return { op: null, lsn, sourceTime: timestamp * 1000n, txId: null, commitLsn: null, snapshot: null, rest };
}

const candles: Table = {
  topic: 'market.candles',
  schema: schemas.candle,
  columns: columnsOf(schemas.candle),
  eventTime: 'window_start',
  row: (value) => value,
  rowRecord: schemas.candle.name,
  lineage: (value, record) => derived(record, (value as Candle).provenance?.to_lsn ?? null),
};

const anomalies: Table = {
  topic: 'market.anomalies',
  schema: schemas.anomaly,
  columns: columnsOf(schemas.anomaly),
  eventTime: 'window_start',
  row: (value) => value as Anomaly,
  rowRecord: schemas.anomaly.name,
  lineage: (_value, record) => derived(record, null),
};

export const tables: Readonly<Record<ArchivedTopic, Table>> = Object.freeze({
  'cdc.public.trades': trades,
  'cdc.public.instruments': instruments,
  'market.candles': candles,
  'market.anomalies': anomalies,
});
