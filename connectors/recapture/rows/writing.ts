/** Writes missing changes in the connector's partition and with its registered schema. */
import { MillraceError } from '../../../core/base/errors.ts';
import type { Log, OutRecord } from '../../../core/log/log.ts';
import { literal } from '../../../core/values/sql.ts';
import { captureRecordBytes } from '../../../schemas/topics.ts';
import type { RowColumn, Text } from '../columns/row.ts';
import type { LocatedDifference } from './differences.ts';
import { type EnvelopeOptions, envelopeOf } from './envelope.ts';
import type { OpenedTable } from './opened.ts';
import type { CapturedTable } from './tables.ts';

export interface WriteOptions {
  readonly log: Log;
  /** Connector name. */
  readonly name: string;
  /** Prefix of the capture topics. */
  readonly prefix: string;
  readonly postgresUrl: string;
  readonly signal: AbortSignal | undefined;
  /** Selects the differences to write. Default: all. */
  readonly wanted?: (found: LocatedDifference, partition: number) => boolean;
  /** Differences read so far. */
  readonly onProgress: (done: number) => void;
}

/** Writes each portion in one transaction. @throws MillraceError RECORD_TOO_LARGE: names the row. */
export async function writeChanges(
  { log, name, prefix, postgresUrl, signal, wanted = () => true, onProgress }: WriteOptions,
  { table, topic, columns, values, keys }: OpenedTable,
  differences: AsyncIterable<readonly LocatedDifference[]>,
  at: Pick<EnvelopeOptions, 'lsn' | 'place' | 'tx' | 'at' | 'snapshot'>,
): Promise<void> {
  const partitions = (await log.ends(topic)).length;
  const [schema = '', relation = ''] = table.name.split('.');
  const source = { name: prefix, db: new URL(postgresUrl).pathname.slice(1), schema, table: relation };
  const envelope = { columns, source, ...at };
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
      if (value.length > captureRecordBytes) throw tooLarge(table, row, value.length);
      records.push({ topic, partition, key, value, timestamp: at.at / 1000n });
    }
    if (records.length > 0) await writer.transact({ records });
    done += portion.length;
    onProgress(done);
  }
}

function tooLarge(
  { name, primaryKey }: CapturedTable,
  row: Readonly<Record<string, Text>>,
  bytes: number,
): MillraceError {
  const key = primaryKey.map((column) => literal(row[column] ?? '')).join(', ');
  return new MillraceError(
    'RECORD_TOO_LARGE',
    `${name}: the change of row (${primaryKey.join(', ')}) = (${key}) has ${bytes} bytes; at most ${captureRecordBytes} are captured`,
    { remedy: 'Make its values smaller in Postgres, or drop the column; then run the command again.' },
  );
}

function keyOf(row: Readonly<Record<string, Text>>, { key }: CapturedTable, columns: readonly RowColumn[]): object {
  return Object.fromEntries(
    columns.filter(({ name }) => key.includes(name)).map(({ name, toAvro }) => [name, toAvro(row[name] ?? '')]),
  );
}
