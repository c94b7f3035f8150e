/**
 * Rate at which each stage alone drains a backlog, compared with Debezium's rate of filling it; then all stages together.
 *
 *   npm run bench -- end-to-end [--rows 2000000] [--together 200000] [--stack bench]
 *
 * Starts a fresh stack and stops it. Rates are from a stage's first progress to its last record. Memory is the peak resident size of the
 * process. Compare the ratios: absolute figures depend on the machine.
 */
import { createWriteStream, readFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline as pipe } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Pipeline } from '../../cli/demo/pipeline.ts';
import { stackOptions, up } from '../../cli/stack/stack.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import type { Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { stopStack } from '../../infra/local/stack.ts';
import { loadTrades } from '../../storage/load/load.ts';
import { syntheticTrades } from '../../storage/load/synthetic.ts';

export const help = `bench end-to-end [--rows 2000000] [--together 200000] [--stack bench]
  rate at which each stage drains a backlog, alone and all together`;

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: 'string', default: '2000000' },
      together: { type: 'string', default: '200000' },
      stack: { type: 'string', default: 'bench' },
    },
  });
  const rows = Number(values.rows);
  const together = Number(values.together);
  const pollMs = 200;

  const sum = (offsets: readonly bigint[]): number => Number(offsets.reduce((total, offset) => total + offset, 0n));
  const rate = (count: number, seconds: number): string => `${Math.round(count / seconds).toLocaleString('en-US')}/s`;
  const seconds = (fromMs: number): number => (performance.now() - fromMs) / 1000;

  async function synthetic(count: number, seed: number, start: bigint): Promise<string> {
    const file = join(await mkdtemp(join(tmpdir(), 'millrace-bench-')), 'trades.csv');
    await pipe(
      Readable.from(syntheticTrades({ rows: count, symbols: 48, seed, start, perSecond: 200 })),
      createWriteStream(file),
    );
    return file;
  }

  /** Seconds from the first progress of `reached` to `target`. */
  async function timeTo(
    target: number,
    reached: () => Promise<number>,
    check: () => Promise<void> = async () => undefined,
  ): Promise<number> {
    const before = await reached();
    let startedMs: number | undefined;
    for (;;) {
      const now = await reached();
      if (now > before) startedMs ??= performance.now() - pollMs;
      if (now >= target) return startedMs === undefined ? 0 : seconds(startedMs);
      await check();
      await delay(pollMs);
    }
  }

  async function committed(log: Log, name: string, topics: readonly string[]): Promise<number> {
    let total = 0;
    for (const topic of topics) total += sum((await log.committed(groupOf(name), topic)).map(({ offset }) => offset));
    return total;
  }

  async function endOf(log: Log, topics: readonly string[]): Promise<number> {
    let total = 0;
    for (const topic of topics) total += sum(await log.ends(topic));
    return total;
  }

  function peakMib(pid: number): number {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  }

  await stopStack({ ...stackOptions(values.stack), wipe: true });
  const { stack, config } = await up(values.stack, { connectors: true, log: (line) => console.error(line) });
  try {
    await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'bench' });
    const trades = 'cdc.public.trades';
    const file = await synthetic(rows, 1, 1_704_067_200_000_000n);
    const loadedMs = performance.now();
    const capture = timeTo(rows, () => endOf(log, [trades]));
    await loadTrades({ url: config.postgres.url, file });
    console.log(`load      ${rate(rows, seconds(loadedMs))}`);
    const capturing = await capture;
    console.log(`capture   ${rate(rows, capturing)}  (Debezium alone, beside the load)`);

    const stages = [
      ['ohlcv', [trades]],
      ['anomaly', ['market.candles', trades]],
      ['parquet', [trades, 'market.candles', 'market.anomalies']],
    ] as const;
    for (const [name, topics] of stages) {
      const backlog = await endOf(log, topics);
      await using process = Pipeline.start({ stack: values.stack, names: [name] });
      const took = await timeTo(
        backlog,
        () => committed(log, name, topics),
        () => process.check(),
      );
      // Shorter runs would measure the polling interval.
      const measured =
        backlog > 50_000
          ? `${rate(backlog, took)}, ${(backlog / took / (rows / capturing)).toFixed(1)} × capture`
          : `in ${took.toFixed(1)} s`;
      console.log(
        `${name.padEnd(9)} ${backlog.toLocaleString('en-US')} offsets ${measured}, peak ${peakMib(process.pid).toFixed(0)} MiB`,
      );
    }

    await using _all = Pipeline.start({ stack: values.stack });
    await delay(5_000);
    const target = rows + together;
    const startedMs = performance.now();
    await loadTrades({ url: config.postgres.url, file: await synthetic(together, 2, 1_735_689_600_000_000n) });
    await timeTo(target, () => endOf(log, [trades]));
    for (const [name, topics] of stages) {
      const end = await endOf(log, topics.slice(0, 1));
      await timeTo(end, () => committed(log, name, topics.slice(0, 1)));
    }
    const all = together / seconds(startedMs);
    console.log(
      `together  ${Math.round(all).toLocaleString('en-US')}/s  load to archive, ${(all / (rows / capturing)).toFixed(2)} × capture alone`,
    );
  } finally {
    await stack.stop();
  }
}
