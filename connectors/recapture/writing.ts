/** Writes what the log lacks where the connector would have written it, in the schema that it registered. */
import type { Client } from 'pg';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import type { Version } from '../../core/avro/registry.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log, OutRecord } from '../../core/runtime/log.ts';
import { keySubject, valueSubject } from '../../schemas/topics.ts';
import { type RowColumn, rowColumns, type Text } from './columns.ts';
import type { Found } from './differences.ts';
import { type EnvelopeOptions, envelopeOf } from './envelope.ts';
import type { CapturedTable } from './tables.ts';

/** With the newest version of a subject. */
export type CaptureSchemas = Schemas & { latest(subject: string): Promise<Version | undefined> };

/** A table of which something was captured. */
export interface OpenedTable {
  readonly table: CapturedTable;
  readonly topic: string;
  /** The newest value schema of the topic. */
  readonly schema: object;
  readonly columns: readonly RowColumn[];
  readonly defaults: Readonly<Record<string, unknown>>;
  readonly values: AvroEncoder<object>;
  readonly keys: AvroEncoder<object>;
}

/** Undefined when nothing of it was captured yet. @throws MillraceError SCHEMA_INCOMPATIBLE: a column cannot be written as Debezium would. */
export async function openTable(
  db: Client,
  schemas: CaptureSchemas,
  table: CapturedTable,
  topic: string,
): Promise<OpenedTable | undefined> {
  const [value, key] = [await schemas.latest(valueSubject(topic)), await schemas.latest(keySubject(topic))];
  if (value === undefined || key === undefined) return undefined;
  return {
    ...{ table, topic, schema: value.schema },
    ...rowColumns(value.schema, await columnTypes(db, table)),
    values: await AvroEncoder.open<object>(schemas, valueSubject(topic), value.schema),
    keys: await AvroEncoder.open<object>(schemas, keySubject(topic), key.schema),
  };
}

export interface WriteOptions {
  readonly log: Log;
  /** Of the connector. */
  readonly name: string;
  /** Of the capture topics. */
  readonly prefix: string;
  readonly postgresUrl: string;
  readonly signal: AbortSignal | undefined;
  /** Which of the differences are written. Default: all. */
  readonly wanted?: (found: Found, partition: number) => boolean;
  /** How many differences were seen. */
  readonly onProgress: (done: number) => void;
}

/** Each portion in one transaction. */
export async function writeChanges(
  { log, name, prefix, postgresUrl, signal, wanted = () => true, onProgress }: WriteOptions,
  { table, topic, columns, defaults, values, keys }: OpenedTable,
  differences: AsyncIterable<readonly Found[]>,
  at: Pick<EnvelopeOptions, 'lsn' | 'place' | 'tx' | 'at' | 'snapshot'>,
): Promise<void> {
  const partitions = (await log.ends(topic)).length;
  const [schema = '', relation = ''] = table.name.split('.');
  const source = { name: prefix, db: new URL(postgresUrl).pathname.slice(1), schema, table: relation };
  const envelope = { columns, defaults, source, ...at };
  await using writer = await log.writer(`millrace.recapture.${name}`);
  let done = 0;
  for await (const portion of differences) {
    signal?.throwIfAborted();
    const records: OutRecord[] = [];
    for (const found of portion) {
      const row = found.after ?? found.before ?? {};
      const key = keys.encode(keyOf(row, table, columns));
      const partition = found.partition ?? table.partition(row, key, partitions);
      if (!wanted(found, partition)) continue;
      const value = values.encode(envelopeOf(found, envelope));
      records.push({ topic, partition, key, value, timestamp: at.at / 1000n });
    }
    if (records.length > 0) await writer.transact({ records });
    done += portion.length;
    onProgress(done);
  }
}

function keyOf(row: Readonly<Record<string, Text>>, { key }: CapturedTable, columns: readonly RowColumn[]): object {
  return Object.fromEntries(
    columns.filter(({ name }) => key.includes(name)).map(({ name, toAvro }) => [name, toAvro(row[name] ?? '')]),
  );
}

async function columnTypes(db: Client, { name }: CapturedTable): Promise<ReadonlyMap<string, string>> {
  const { rows } = await db.query<{ name: string; type: string }>(
    `SELECT attname AS name, format_type(atttypid, -1) AS type FROM pg_attribute
      WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`,
    [name],
  );
  return new Map(rows.map((row) => [row.name, row.type]));
}
