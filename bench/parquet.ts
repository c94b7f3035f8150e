/**
 * Parquet of real-sized trade changes, no broker and no bucket: `npm run bench -- parquet [rows]`. Prints rows per second of CPU time (all
 * threads, garbage collection included), so that a busy machine does not falsify them, beside DuckDB's COPY of the same rows.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { columnsWithLineage, lineageValues, tables } from '../core/archive/tables.ts';
import { TableDecoder } from '../core/archive/writing/decoder.ts';
import { ParquetFile } from '../core/archive/writing/writer.ts';
import { AvroEncoder } from '../core/avro/encoder.ts';
import { envelope, envelopeSchema, tradeRow } from '../core/avro/fixtures/debezium.ts';
import { MemorySchemas } from '../core/avro/memory.ts';
import { formatTimestamp } from '../core/time.ts';
import { RecordBuffer } from '../sinks/parquet/buffer.ts';
import { buildObjects } from '../sinks/parquet/build.ts';

export const help = `bench parquet [rows]
  Parquet of trade changes beside DuckDB, no broker and no bucket: rows per second of CPU time`;

export async function run(args: readonly string[]): Promise<void> {
  const ROWS = Number(args[0] ?? 100_000);
  const ROUNDS = 5;

  const table = tables['cdc.public.trades'];
  const at = { topic: table.topic, partition: 0 };
  const { signal } = new AbortController();
  const schemas = new MemorySchemas();
  const writer = await AvroEncoder.open<object>(schemas, 'cdc.public.trades-value', envelopeSchema());
  const decoder = new TableDecoder(schemas, table);

  const buffer = new RecordBuffer();
  for (let i = 0; i < ROWS; i++) {
    const value = writer.encode(
      envelope({
        after: tradeRow({
          trade_id: String(2_041_283 + i),
          price: 80_517_000_000n + BigInt((i * 104_729) % 1_000_000_000),
          size: BigInt((i * 15_485_863) % 100_000_000),
          executed_at: formatTimestamp(1_385_423_999_000_000n + BigInt(i) * 211_003n),
        }),
      }),
    );
    if (i === 0) await decoder.prepare(decoder.missing([value]));
    buffer.push({ offset: BigInt(i), timestamp: 0n, key: null, value });
  }
  console.log(`${ROWS} rows, ${Math.round(buffer.bytes / ROWS)} bytes a record in the buffer`);

  async function rate(label: string, work: () => Promise<unknown> | unknown): Promise<void> {
    await work();
    const started = process.cpuUsage();
    for (let round = 0; round < ROUNDS; round++) await work();
    const { user, system } = process.cpuUsage(started);
    const perSecond = Math.round(((ROWS * ROUNDS) / (user + system)) * 1_000_000);
    console.log(`${label.padEnd(44)} ${perSecond.toLocaleString('en').padStart(12)} rows/CPU s`);
  }

  const build = () => buildObjects(table, at, buffer, decoder, { signal });
  await rate('decode, row hash, encode, zstd, sha256', build);

  const columns = columnsWithLineage(table);
  const rows = [...buffer].map((record) => {
    const change = decoder.decode(record.value as Buffer);
    const row = table.row(change) ?? {};
    return [...table.columns.map((column) => column.read(row)), ...lineageValues(table, at, record, change)];
  });
  await rate(`encode and zstd alone, ${columns.length} columns`, () => {
    const file = new ParquetFile(columns);
    for (const row of rows) file.add(row);
    return file.finish({});
  });

  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  try {
    const { objects } = await build();
    for (const { day, bytes } of objects) writeFileSync(join(dir, `${day}.parquet`), bytes);
    const db = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect();
    await db.run(`CREATE TABLE rows AS SELECT * FROM read_parquet('${dir}/*.parquet') ORDER BY _offset`);
    const copy = join(dir, 'copy');
    await rate('DuckDB COPY of the same rows', () =>
      db.run(`COPY rows TO '${copy}' (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2)`),
    );
    const size = objects.reduce((sum, { bytes }) => sum + bytes.length, 0);
    console.log(`${objects.length} objects of ${size} bytes together; DuckDB's file has ${statSync(copy).size}`);
  } finally {
    rmSync(dir, { recursive: true });
  }
}
