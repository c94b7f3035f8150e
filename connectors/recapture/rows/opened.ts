/** Captured tables with their newest registered schema. */
import type { Client } from 'pg';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import type { RegisteredSchema } from '../../../core/avro/registry/registry.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { keySubject, valueSubject } from '../../../schemas/topics.ts';
import { columnTypes } from '../columns/catalog.ts';
import { type RefusedColumn, type RowColumn, rowColumns } from '../columns/row.ts';
import { type CapturedTable, topicOf } from './tables.ts';

/** Schemas with a lookup of a subject's newest version. */
export type CaptureSchemas = Schemas & { latest(subject: string): Promise<RegisteredSchema | undefined> };

/** A table with captured records. */
export interface OpenedTable {
  readonly table: CapturedTable;
  readonly topic: string;
  /** Newest value schema of the topic. */
  readonly schema: object;
  readonly columns: readonly RowColumn[];
  readonly values: AvroEncoder<object>;
  readonly keys: AvroEncoder<object>;
}

/** @throws MillraceError SCHEMA_INCOMPATIBLE: names every column of these tables that cannot be written as Debezium would. */
export async function openTables(
  db: Pick<Client, 'query'>,
  schemas: CaptureSchemas,
  prefix: string,
  tables: readonly CapturedTable[],
): Promise<readonly OpenedTable[]> {
  const opened: OpenedTable[] = [];
  const refused: (RefusedColumn & { readonly table: string })[] = [];
  for (const table of tables) {
    const topic = topicOf(prefix, table);
    const [value, key] = [await schemas.latest(valueSubject(topic)), await schemas.latest(keySubject(topic))];
    if (value === undefined || key === undefined) continue;
    const found = rowColumns(value.schema, await columnTypes(db, table.name));
    refused.push(...found.refused.map((column) => ({ ...column, table: table.name })));
    opened.push({
      ...{ table, topic, schema: value.schema, columns: found.columns },
      values: await AvroEncoder.open<object>(schemas, valueSubject(topic), value.schema),
      keys: await AvroEncoder.open<object>(schemas, keySubject(topic), key.schema),
    });
  }
  if (refused.length === 0) return opened;
  throw new MillraceError(
    'SCHEMA_INCOMPATIBLE',
    [
      'columns cannot be written as Debezium would:',
      ...refused.map(({ table, name, reason }) => `  ${table}.${name} ${reason}`),
    ].join('\n'),
    { remedy: [...new Set(refused.map(({ remedy }) => remedy))].join(' ') },
  );
}
