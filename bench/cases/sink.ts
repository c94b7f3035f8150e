/**
 * The archive's sink alone on realistic trade changes, from fetched records to uploaded bytes, without a broker and a bucket: `npm run
 * bench -- sink [rows] [days]`. Prints rows per second of CPU time (all threads, garbage collection included) and the peak memory of the
 * process. With several days, consecutive records have different days, so every cut has all days open.
 */

import type { ObjectStore } from '../../core/archive/s3/store.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { envelope, envelopeSchema, tradeRow } from '../../core/avro/fixtures/debezium.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import { configSchema } from '../../core/base/config.ts';
import type { Fetched, LogRecord, Writer } from '../../core/log/log.ts';
import { Metrics } from '../../core/observability/metrics.ts';
import type { Handler } from '../../core/runtime/handler.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import { parquetSink } from '../../sinks/parquet/sink.ts';

export const help = `bench sink [rows] [days]
  the Parquet sink alone with default settings, without broker and bucket: rows per second of CPU time, peak memory`;

const topic = 'cdc.public.trades';
const partitions = 6;
const portion = 2_000;
const distinct = 60_000;
const dayMicros = 86_400_000_000n;

export async function run(args: readonly string[]): Promise<void> {
  const rows = Number(args[0] ?? 600_000);
  const days = Number(args[1] ?? 1);
  const values = await envelopes(days);
  const totals = { files: 0, bytes: 0 };
  const sink = await parquetSink({
    schemas: values.schemas,
    store: counting(totals),
    settings: configSchema.parse({}).parquet,
    epoch: 'bench',
    metrics: new Metrics({ node: false }),
  });
  const { signal } = new AbortController();
  const handlers: Handler[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const position = { topic, committed: undefined, start: 0n };
    const own = { ...position, partition, inputs: [position], log: undefined as never, writer, group: 'bench' };
    const handler = sink.handler({ ...own, signal, ending: signal });
    await handler.open();
    handlers.push(handler);
  }
  const feed = async (from: number, to: number): Promise<void> => {
    for (let row = from; row < to; row += portion) {
      const turn = row / portion;
      await handlers[turn % partitions]?.process(values.fetched(turn % partitions, Math.floor(turn / partitions)));
    }
  };
  const warm = portion * partitions * 10;
  await feed(0, warm);
  const started = process.cpuUsage();
  const startedMs = performance.now();
  await feed(warm, warm + rows);
  const { user, system } = process.cpuUsage(started);
  const seconds = (performance.now() - startedMs) / 1000;
  const perSecond = (each: number): string => Math.round(rows / each).toLocaleString('en');
  console.log(`${rows} rows of ${days} ${days === 1 ? 'day' : 'days'}, ${partitions} partitions, ${values.bytes} bytes a record
${perSecond((user + system) / 1e6).padStart(12)} rows/CPU s
${perSecond(seconds).padStart(12)} rows/s by the clock
${Math.round(process.resourceUsage().maxRSS / 1024)
  .toString()
  .padStart(12)} MiB at the peak
${totals.files} files, ${Math.round(totals.bytes / Math.max(totals.files, 1)).toLocaleString('en')} bytes each`);
}

/** Records as varied as a market's, and endless chunks of them for one partition. */
async function envelopes(days: number) {
  const schemas = new MemorySchemas();
  const encoder = await AvroEncoder.open<object>(schemas, `${topic}-value`, envelopeSchema());
  const values = Array.from({ length: distinct }, (_, i) => {
    const day = BigInt(days === 1 ? 0 : (i * 7_919) % days) * dayMicros;
    return encoder.encode(
      envelope({
        after: tradeRow({
          trade_id: String(2_041_283 + i),
          price: 80_517_000_000n + BigInt((i * 104_729) % 1_000_000_000),
          size: BigInt((i * 15_485_863) % 100_000_000),
          executed_at: formatTimestamp(1_385_337_600_000_000n + day + BigInt(i) * 1_003_003n),
        }),
      }),
    );
  });
  const fetched = (partition: number, turn: number): Fetched => {
    const from = turn * portion;
    const records = Array.from({ length: portion }, (_, i): LogRecord => {
      const value = values[(from + i) % distinct] as Buffer;
      return { offset: BigInt(from + i), timestamp: 1_795_253_012_345n, key: null, value };
    });
    const next = BigInt(from + portion);
    return { topic, partition, from: BigInt(from), next, end: next, records };
  };
  return { schemas, fetched, bytes: values[0]?.length ?? 0 };
}

const writer: Writer = {
  transact: async () => [],
  [Symbol.asyncDispose]: async () => undefined,
};

/** A store that accepts every object and keeps none. */
function counting(totals: { files: number; bytes: number }): ObjectStore {
  return {
    putIfAbsent: async (_key, bytes) => {
      totals.files++;
      totals.bytes += bytes.length;
      return 'created';
    },
    get: async () => undefined,
    head: async () => undefined,
    list: async function* () {},
    folders: async () => [],
    remove: async () => undefined,
    ensureBucket: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}
