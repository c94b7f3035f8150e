/**
 * One task of ohlcv with many open windows, without a broker, in a separate process to measure its memory.
 *
 *   node bench/windows/open-windows.ts WINDOWS fill|restore
 *
 * Prints one line of JSON.
 */
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { envelope, envelopeSchema, tradeRow } from '../../core/avro/fixtures/debezium.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import { wallClock } from '../../core/base/clock.ts';
import { parseConfig } from '../../core/base/config.ts';
import type { Fetched, Log, LogRecord, OutRecord, Writer } from '../../core/log/log.ts';
import { Metrics } from '../../core/observability/metrics.ts';
import { openCodecs } from '../../core/runtime/fold/codecs.ts';
import { FoldHandler } from '../../core/runtime/fold/fold-handler.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import { ohlcv } from '../../processors/ohlcv/ohlcv.ts';
import { peakMib } from './measure.ts';

const topic = 'cdc.public.trades';
const changelog = 'ohlcv.changelog';
const portion = 2_000;
/** Rounds of the market: each has one trade for every symbol. */
const rounds = 3;

export interface Filled {
  readonly windows: number;
  readonly peakMib: number;
  /** Changelog records that a restore has read, and its duration in seconds. */
  readonly restored: number;
  readonly restoreSeconds: number;
}

if (import.meta.main) {
  const windows = Number(process.argv[2] ?? 100_000);
  const keeps = process.argv[3] === 'restore';
  const config = parseConfig();
  const processor = ohlcv(config.ohlcv);
  const symbols = Math.ceil(windows / config.ohlcv.intervals.length);
  const schemas = new MemorySchemas();
  const trades = await AvroEncoder.open<object>(schemas, `${topic}-value`, envelopeSchema());
  const codecs = await openCodecs(processor, schemas);
  const metrics = new Metrics();
  const kept: LogRecord[] = [];

  let open = 0;
  const handler = (): FoldHandler<unknown> => {
    const at = { topic, partition: 0, committed: undefined, start: 0n };
    const task = Object.assign(metrics.task({ name: 'ohlcv', topic, partition: 0 }), {
      fold: (gauges: Readonly<Record<string, number>>) => {
        open = gauges['open_windows'] ?? 0;
      },
    });
    const { signal } = new AbortController();
    return new FoldHandler<unknown>({ ...at, inputs: [at], log, writer, group: 'bench', signal, ending: signal }, {
      processor,
      codecs,
      settings: config.runtime,
      metrics: task,
      clock: wallClock,
    } as never);
  };
  const writer: Writer = {
    async transact({ records }) {
      const of = records.filter((record) => record.topic === changelog);
      const baseOffset = BigInt(kept.length);
      if (keeps) kept.push(...of.map((record, i) => toLog(record, baseOffset + BigInt(i))));
      return [{ topic: changelog, partition: 0, baseOffset }];
    },
    async [Symbol.asyncDispose]() {},
  };
  const log = {
    starts: async () => [0n],
    ends: async () => [BigInt(kept.length)],
    fetcher: () => ({
      async fetch([position]: { offset: bigint }[]): Promise<Fetched[]> {
        const from = position?.offset ?? 0n;
        const records = kept.slice(Number(from), Number(from) + portion);
        const next = from + BigInt(records.length);
        return [{ topic: changelog, partition: 0, from, next, records, end: BigInt(kept.length) }];
      },
      async [Symbol.asyncDispose]() {},
    }),
  } as unknown as Log;

  const filling = handler();
  await filling.open();
  let offset = 0n;
  for (let round = 0; round < rounds; round++) {
    for (let symbol = 0; symbol < symbols; ) {
      const records: LogRecord[] = [];
      for (; records.length < portion && symbol < symbols; symbol++) {
        const value = trades.encode(change(symbol, round, offset));
        records.push({ offset, timestamp: 1_795_253_012_345n, key: null, value });
        offset += 1n;
      }
      const from = offset - BigInt(records.length);
      await filling.process({ topic, partition: 0, from, next: offset, records, end: offset });
    }
  }
  await filling.close();
  const filledWindows = open;
  let restoreSeconds = 0;
  if (keeps) {
    const started = process.cpuUsage();
    await handler().open();
    const { user, system } = process.cpuUsage(started);
    restoreSeconds = (user + system) / 1e6;
  }
  const filled: Filled = {
    windows: filledWindows,
    peakMib: peakMib(process.pid),
    restored: kept.length,
    restoreSeconds,
  };
  console.log(JSON.stringify(filled));
}

function toLog({ key, value, timestamp }: OutRecord, offset: bigint): LogRecord {
  return { offset, timestamp, key, value };
}

/** A trade of the symbol. Event time stays within one minute, so no window closes. Log time advances, so PARTIALs are due. */
function change(symbol: number, round: number, offset: bigint): object {
  const time = 1_795_252_980_000_000n + BigInt(round) * 1_000_000n;
  const ts_us = time + 500_000n + offset;
  const { source, ...rest } = envelope() as { source: object };
  return {
    ...rest,
    after: tradeRow({ symbol: `SYM${symbol}-USD`, trade_id: `${offset}`, executed_at: formatTimestamp(time) }),
    source: { ...source, ts_us, lsn: 26_715_344n + offset, sequence: `["26715128","${26_715_344n + offset}"]` },
  };
}
