/** What the archive makes of each archived topic: which record, which columns, which day. The sink writes it, verification reads it. */
import type { Anomaly } from '../../schemas/gen/anomaly.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import { MillraceError } from '../errors.ts';
import type { TypedColumn } from '../rowhash.ts';
import { parseTimestamp } from '../time.ts';
import { type Column, columnsOf } from './columns.ts';

/** Where a row comes from. Null where the topic has no such thing. */
export interface Lineage {
  readonly op: string | null;
  readonly lsn: bigint | null;
  /** Commit time in Postgres, or log time of a derived record; microseconds. */
  readonly sourceTime: bigint;
  readonly txId: bigint | null;
}

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
  /** The data column with the event time, which decides the day. */
  readonly eventTime: string;
  /** @param timestamp of the Kafka record, milliseconds */
  lineage(value: object, timestamp: bigint): Lineage;
}

/** Columns that follow the data in every object: where the row came from. `_offset` is what makes a row unique within its partition. */
export const lineageColumns: readonly TypedColumn[] = Object.freeze([
  { name: '_topic', type: { kind: 'text' } },
  { name: '_partition', type: { kind: 'int' } },
  { name: '_offset', type: { kind: 'long' } },
  { name: '_lsn', type: { kind: 'long' } },
  { name: '_op', type: { kind: 'text' } },
  { name: '_source_time', type: { kind: 'timestamp' } },
  { name: '_tx_id', type: { kind: 'long' } },
]);

const tradeRowSchema = (
  schemas.trade_change.fields[0].type as unknown as readonly [string, { readonly fields: readonly [] }]
)[1];

const trades: Table = {
  topic: 'cdc.public.trades',
  schema: schemas.trade_change,
  columns: columnsOf(tradeRowSchema, {
    parse: { executed_at: { type: { kind: 'timestamp' }, value: parseTimestamp } },
  }),
  eventTime: 'executed_at',
  row(value) {
    const { after, before } = value as TradeChange;
    return after ?? before ?? undefined;
  },
  rowRecord: 'TradeRow',
  before: (value) => (value as TradeChange).before ?? undefined,
  lineage(value) {
    const { op, source } = value as TradeChange;
    if (source.ts_us === null) throw new MillraceError('BAD_RECORD', 'the change has no commit time (source.ts_us)');
    return { op, lsn: source.lsn, sourceTime: source.ts_us, txId: source.txId };
  },
};

const candles: Table = {
  topic: 'market.candles',
  schema: schemas.candle,
  columns: columnsOf(schemas.candle),
  eventTime: 'window_start',
  row: (value) => value,
  rowRecord: schemas.candle.name,
  lineage(value, timestamp) {
    const { provenance } = value as Candle;
    return { op: null, lsn: provenance?.to_lsn ?? null, sourceTime: timestamp * 1000n, txId: null };
  },
};

const anomalies: Table = {
  topic: 'market.anomalies',
  schema: schemas.anomaly,
  columns: columnsOf(schemas.anomaly),
  eventTime: 'window_start',
  row: (value) => value as Anomaly,
  rowRecord: schemas.anomaly.name,
  lineage: (_value, timestamp) => ({ op: null, lsn: null, sourceTime: timestamp * 1000n, txId: null }),
};

export const tables: Readonly<Record<ArchivedTopic, Table>> = Object.freeze({
  'cdc.public.trades': trades,
  'market.candles': candles,
  'market.anomalies': anomalies,
});
