/** The tables of the hot store: topic, columns, primary key and partitioning column of each. */

import { schemas } from '../../schemas/gen/index.ts';
import type { HotTopic } from '../../schemas/topics.ts';
import { columnsOf } from '../archive/rows/columns.ts';
import { MillraceError } from '../base/errors.ts';
import type { ColumnType, ColumnValue } from '../values/rowhash/rowhash.ts';
import { type ArrayType, isArrayType, renderJson } from './json.ts';
import { decimalText, timestampText } from './text.ts';

/** The Postgres schema of the hot store. It contains only the hot store's tables and their partitions. */
export const hotSchema = 'hot';

export interface HotColumn {
  readonly name: string;
  /** Type for the row hash. An array has the type `text`: its `jsonb` value as text. */
  readonly type: ColumnType;
  /** Column type in Postgres, for example `numeric(20,8)`. */
  readonly sqlType: string;
  /** The value as input text for Postgres. @throws MillraceError BAD_RECORD: Postgres cannot store the value */
  text(record: object): string | null;
  /** The value for the row hash. @throws MillraceError BAD_RECORD: `jsonb` cannot store the array */
  value(record: object): ColumnValue;
}

export interface HotTable {
  readonly topic: HotTopic;
  readonly name: 'candles' | 'anomalies' | 'features';
  /** Avro schema that decodes the topic's values. */
  readonly schema: object;
  /** In schema order, always with `revision`. */
  readonly columns: readonly HotColumn[];
  /** Columns of the primary key: the fields of the record's key. */
  readonly key: readonly string[];
  /** The column whose UTC day decides the partition; part of the key. */
  readonly eventTime: string;
  revision(record: object): number;
}

interface AvroRecord {
  readonly fields: readonly { readonly name: string; readonly type: unknown }[];
}

/** The columns of the archive, except that arrays are `jsonb`. Numbers in `jsonb` stay exact. */
function hotColumns(schema: AvroRecord): readonly HotColumn[] {
  const arrays = new Map<string, ArrayType>();
  for (const { name, type } of schema.fields) if (isArrayType(type)) arrays.set(name, type);
  return columnsOf(schema).map(({ name, type, read }): HotColumn => {
    const array = arrays.get(name);
    if (array === undefined) {
      return { name, type, sqlType: sqlTypeOf(type), text: (record) => textOf(name, type, read(record)), value: read };
    }
    const json = (record: object) => renderJson(name, array, (record as Record<string, unknown>)[name]);
    return { name, type: { kind: 'text' }, sqlType: 'jsonb', text: json, value: json };
  });
}

function sqlTypeOf(type: ColumnType): string {
  switch (type.kind) {
    case 'text':
      return 'text';
    case 'boolean':
      return 'boolean';
    case 'int':
      return 'integer';
    case 'long':
      return 'bigint';
    case 'decimal':
      return `numeric(${type.precision},${type.scale})`;
    case 'timestamp':
      return 'timestamp with time zone';
  }
}

function textOf(name: string, type: ColumnType, value: ColumnValue): string | null {
  if (value === null) return null;
  if (type.kind === 'decimal') return decimalText(name, value as bigint, type);
  if (type.kind === 'timestamp') return timestampText(name, value as bigint);
  if (type.kind === 'text' && (value as string).includes('\0')) {
    throw new MillraceError('BAD_RECORD', `${name} contains U+0000, which Postgres has no text for`);
  }
  return String(value);
}

function keyOf(schema: AvroRecord): readonly string[] {
  return schema.fields.map(({ name }) => name);
}

const revised = (record: object): number => (record as { readonly revision: number }).revision;

const candles: HotTable = {
  topic: 'market.candles',
  name: 'candles',
  schema: schemas.candle,
  columns: hotColumns(schemas.candle),
  key: keyOf(schemas.candle_key),
  eventTime: 'window_start',
  revision: revised,
};

const anomalies: HotTable = {
  topic: 'market.anomalies',
  name: 'anomalies',
  schema: schemas.anomaly,
  columns: hotColumns(schemas.anomaly),
  key: keyOf(schemas.anomaly_key),
  eventTime: 'window_start',
  revision: revised,
};

/** A row of features is never revised. Its schema has no revision, so the added column is always 1. */
const features: HotTable = {
  topic: 'market.features',
  name: 'features',
  schema: schemas.features,
  columns: [
    ...hotColumns(schemas.features),
    { name: 'revision', type: { kind: 'int' }, sqlType: 'integer', text: () => '1', value: () => 1 },
  ],
  key: keyOf(schemas.features_key),
  eventTime: 'as_of',
  revision: () => 1,
};

export const hotTables: Readonly<Record<HotTopic, HotTable>> = Object.freeze({
  'market.candles': candles,
  'market.anomalies': anomalies,
  'market.features': features,
});
