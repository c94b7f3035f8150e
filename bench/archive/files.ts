/** Parquet of realistic trade changes, without a broker and a bucket. DuckDB and pyarrow write the same rows for comparison. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { columnsWithLineage, lineageValues, tables } from '../../core/archive/rows/tables.ts';
import { TableDecoder } from '../../core/archive/writing/decoder.ts';
import { ParquetFile } from '../../core/archive/writing/writer.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { envelope, envelopeSchema, tradeRow } from '../../core/avro/fixtures/debezium.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import { RecordBuffer } from '../../sinks/parquet/building/buffer.ts';
import { buildObjects } from '../../sinks/parquet/building/build.ts';
import { pyarrow, type Written } from './pyarrow.ts';

const warmUps = 1;
const rounds = 5;
const { signal } = new AbortController();
const table = tables['cdc.public.trades'];
const at = { topic: table.topic, partition: 0 };

/** Rates are rows per second of CPU time of all threads, garbage collection included. So other load on the machine does not change them. */
export async function benchFiles(rows: number, say: (line: string) => void): Promise<void> {
  const { buffer, decoder } = await changes(rows);
  say(`${rows} rows, ${Math.round(buffer.bytes / rows)} bytes a record in the buffer; rows per second of CPU time`);
  const told = (label: string, rate: number, detail = ''): void => {
    say(`${label.padEnd(46)} ${Math.round(rate).toLocaleString('en').padStart(10)}/s${detail}`);
  };
  const build = () => buildObjects(table, at, buffer, decoder, { signal });
  const { objects } = await build();
  const size = objects.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const whole = await rateOf(rows, build);
  told('the sink: decode, row hash, encode, zstd, SHA-256', whole);

  const columns = columnsWithLineage(table);
  const decoded = [...buffer].map((record) => {
    const change = decoder.decode(record.value as Buffer);
    const row = table.row(change) ?? {};
    return [...table.columns.map((column) => column.read(row)), ...lineageValues(table, at, record, change)];
  });
  const encode = await rateOf(rows, () => {
    const file = new ParquetFile(columns);
    for (const row of decoded) file.add(row);
    return file.finish({});
  });
  told(`its writer alone, ${columns.length} columns`, encode, `  ${perRow(size, rows)}`);

  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const beside = (what: string, ours: number, { rate, bytes }: Peer): void => {
    const ratio = (value: number): string => `${value.toFixed(2)} ×`;
    say(`  ${what} ${ratio(ours / rate)} its rate, our files ${ratio(size / bytes)} its size`);
  };
  try {
    for (const { day, bytes } of objects) writeFileSync(join(dir, `${day}.parquet`), bytes);
    writeFileSync(join(dir, 'schema.json'), JSON.stringify(envelopeSchema()));
    writeFileSync(join(dir, 'changes.bin'), Buffer.concat([...buffer].flatMap(({ value }) => framed(value as Buffer))));
    const same = peerOf(await pyarrow('changes', dir, rounds), rows);
    told('fastavro and pyarrow: decode, encode, zstd', same.rate, `  ${perRow(same.bytes, rows)}`);
    beside('the sink has', whole, same);
    const fromColumns = peerOf(await pyarrow('rows', dir, rounds), rows);
    told('pyarrow, from Arrow columns in memory', fromColumns.rate);
    beside('the writer has', encode, fromColumns);
    const copied = await duckdb(dir, rows);
    told('DuckDB, COPY from its own table in memory', copied.rate, `  ${perRow(copied.bytes, rows)}`);
    beside('the writer has', encode, copied);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function framed(value: Buffer): Buffer[] {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(value.length);
  return [length, value];
}

const perRow = (bytes: number, rows: number): string => `${(bytes / rows).toFixed(1)} bytes a row`;

async function changes(rows: number): Promise<{ buffer: RecordBuffer; decoder: TableDecoder }> {
  const schemas = new MemorySchemas();
  const writer = await AvroEncoder.open<object>(schemas, 'cdc.public.trades-value', envelopeSchema());
  const decoder = new TableDecoder(schemas, table);
  const buffer = new RecordBuffer();
  for (let i = 0; i < rows; i++) {
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
  return { buffer, decoder };
}

async function rateOf(rows: number, work: () => Promise<unknown> | unknown): Promise<number> {
  for (let i = 0; i < warmUps; i++) await work();
  const started = process.cpuUsage();
  for (let round = 0; round < rounds; round++) await work();
  const { user, system } = process.cpuUsage(started);
  return ((rows * rounds) / (user + system)) * 1_000_000;
}

interface Peer {
  readonly rate: number;
  readonly bytes: number;
}

function peerOf({ rows, seconds, bytes }: Written, expected: number): Peer {
  if (rows !== expected) throw new Error(`pyarrow has read ${rows} rows of ${expected}`);
  return { rate: rows / seconds, bytes };
}

async function duckdb(dir: string, rows: number): Promise<Peer> {
  const db = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect();
  await db.run(`CREATE TABLE rows AS SELECT * FROM read_parquet('${dir}/*.parquet') ORDER BY _offset`);
  const copy = join(dir, 'copy');
  const rate = await rateOf(rows, () =>
    db.run(`COPY rows TO '${copy}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3, PARQUET_VERSION v2)`),
  );
  return { rate, bytes: statSync(copy).size };
}
