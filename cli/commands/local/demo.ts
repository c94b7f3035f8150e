/** `millrace demo`: the complete path with real parts and real trades, and the proof that nothing was lost or changed. */
import type { Command } from 'commander';
import { Registry } from '../../../core/avro/registry/registry.ts';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { formatTrimmed, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import { ensureSample } from '../../../infra/local/install/sample.ts';
import { stopStack } from '../../../infra/local/stack.ts';
import { readTopic } from '../../../proof/reading/topic.ts';
import type { Anomaly } from '../../../schemas/gen/anomaly.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import { loadTrades } from '../../../storage/load/load.ts';
import { Bars } from '../../demo/bars.ts';
import { type Arrival, follow } from '../../demo/follow.ts';
import { Pipeline } from '../../demo/pipeline.ts';
import { readCandles } from '../../market/candles.ts';
import { verify } from '../../proof/verify.ts';
import { cacheDir } from '../../settings/config.ts';
import { attach, stackOptions, up } from '../../stack/stack.ts';
import { say } from '../../terminal/print.ts';
import { ProgressLine } from '../../terminal/progress.ts';
import { untilSignal } from '../../terminal/signals.ts';
import { drawCandles } from '../proof/candles.ts';
import { printChecks } from '../proof/verify.ts';
import { printTree, readBranches } from '../storage/archive.ts';

const symbol = 'BTC/USD';
const stackName = 'demo';
/** No minute or five minutes of that week move by 5 % with three times the volume. At 2 % some do. */
const demoSettings = { MILLRACE_ANOMALY_PRICE_CHANGE: '0.02', MILLRACE_PARQUET_FLUSH_MS: '3000' };

export function register(program: Command): void {
  program
    .command('demo')
    .description(
      'load 100,000 real trades into a fresh local stack, follow them to candles, anomalies and Parquet, and prove the result',
    )
    .option('--keep', 'leave the stack up afterwards')
    .action(async (options: { keep?: boolean }) => {
      const ok = await demo(
        options.keep === true,
        untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted')),
      );
      if (!ok) process.exitCode = 1;
    });
}

async function demo(keep: boolean, signal: AbortSignal): Promise<boolean> {
  const begunMs = performance.now();
  const log = (line: string): void => say(`  ${line}`);
  const host = { env: process.env, cacheDir: cacheDir() };
  say('1. The stack: Postgres, Kafka, Kafka Connect with Debezium, a schema registry, MinIO');
  if (!(await isRunning())) await stopStack({ ...stackOptions(stackName), wipe: true });
  const sample = ensureSample({ host, note: (text) => log(`installing sample: ${text}`), signal });
  sample.catch(() => undefined);
  const { stack, config } = await up(stackName, { log, connectors: true, signal });
  let ok = false;
  try {
    await using pipeline = Pipeline.start({ stack: stackName, env: demoSettings });
    await using kafka = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'millrace-demo' });
    await using schemas = new Registry({ url: config.registry.url, signal });

    say('\n2. Real trades: 100,000 of BTC/USD on Bitstamp, November 2013, into Postgres');
    const startedMs = performance.now();
    const loadSeconds = await load(config, await sample, signal);
    const rows = await countTrades(config);

    say('\n3. The pipeline: captured by Debezium, folded into 1 m and 5 m candles, searched for anomalies, archived');
    const bars = new Bars();
    const arrivals = await follow({
      config,
      log: kafka,
      schemas,
      pipeline,
      symbol,
      rows,
      startedMs,
      signal,
      onProgress: (each) => bars.update(each),
    });

    say('\n4. The proof');
    const proof = await verify(config, kafka, schemas, { onCheck: (check) => printChecks([check]), signal });
    ok = proof.ok;
    const { late = 0, dead = 0, unreadable = 0 } = proof.excluded ?? {};
    say(`  in no candle, by the processor's own records: ${late} late, ${dead + unreadable} dead-lettered`);

    say('\n5. The results');
    await show(kafka, schemas);
    printRates(rows, loadSeconds, arrivals);
    const total = ((performance.now() - begunMs) / 1000).toFixed(0);
    const archived = proof.checks.find(({ name }) => name.startsWith('cdc.public.trades: the archive holds each row'));
    say(
      ok
        ? `\n✓ ${grouped(archived?.subject ?? '')} verified in Parquet, all candles equal, in ${total} s`
        : `\n✗ there are differences, see above`,
    );
  } finally {
    if (!keep) await stack.stop();
  }
  hint(keep);
  return ok;
}

/** A running stack is used unchanged: loading the same trades again adds nothing. */
async function isRunning(): Promise<boolean> {
  try {
    return (await (await attach(stackName)).status()).every(({ running }) => running);
  } catch {
    return false;
  }
}

async function load(config: Config, file: string, signal: AbortSignal): Promise<number> {
  const progress = new ProgressLine('  loading');
  const result = await loadTrades({
    url: config.postgres.url,
    file,
    format: 'bitstamp',
    symbol,
    watermarkDelayMs: config.ohlcv.watermarkDelayMs,
    signal,
    onProgress: ({ phase, bytes, totalBytes, read }) => {
      if (phase !== 'loading') return;
      progress.update({ done: bytes, total: totalBytes, text: `${read.toLocaleString('en-US')} rows` });
    },
  });
  progress.end();
  say(
    `  ${result.inserted.toLocaleString('en-US')} inserted, ${result.present.toLocaleString('en-US')} already there, ${result.rejected} rejected in ${result.seconds.toFixed(1)} s`,
  );
  return result.seconds;
}

async function countTrades(config: Config): Promise<number> {
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace demo' });
  const { rows } = await db.query<{ count: string }>('SELECT count(*) FROM public.trades');
  return Number(rows[0]?.count ?? 0);
}

async function show(log: KafkaLog, schemas: Registry): Promise<void> {
  const anomalies = new Map<string, Anomaly>();
  for await (const portion of readTopic<Anomaly>(log, schemas, 'market.anomalies', contracts.anomaly)) {
    for (const { value } of portion) {
      const id = `${value.interval} ${value.window_start}`;
      if (value.status === 'RETRACTED') anomalies.delete(id);
      else anomalies.set(id, value);
    }
  }
  say(`  anomalies: ${anomalies.size} (volume above 3 × the mean of 20 candles, and a move of more than 2 %)`);
  for (const each of [...anomalies.values()].slice(0, 8)) {
    const change = formatTrimmed((each.price_change ?? 0n) * 100n, PRICE_SCALE).slice(0, 6);
    const times = formatTrimmed(each.volume_ratio ?? 0n, PRICE_SCALE).slice(0, 5);
    say(
      `    ${formatTimestamp(each.window_start).slice(0, 16)}Z ${each.interval.padEnd(3)} ${each.severity}  volume × ${times.padEnd(5)}  price ${change} %`,
    );
  }
  if (anomalies.size > 8) say(`    … and ${anomalies.size - 8} more`);
  const { candles } = await readCandles(log, schemas, { symbol, interval: '5m' });
  say(`\n  the last 5 m candles of ${symbol}:`);
  for (const line of drawCandles(candles, process.stdout.isTTY, 72)) say(`  ${line}`);
  say('\n  the archive:');
  printTree(await readBranches({ log, schemas, signal: new AbortController().signal }));
}

function printRates(rows: number, loadSeconds: number, arrivals: readonly Arrival[]): void {
  say('\n  rates, from the start of the load to the last trade of each stage:');
  const rate = (seconds: number): string =>
    `${Math.round(rows / seconds)
      .toLocaleString('en-US')
      .padStart(9)} trades/s`;
  say(`    ${'loaded into Postgres'.padEnd(24)}${rate(loadSeconds)}`);
  for (const { stage, ms, total } of arrivals) {
    if (ms !== undefined && total === rows) say(`    ${stage.padEnd(24)}${rate(ms / 1000)}`);
  }
}

/** Adds thousands separators: `100,000 of 100,000`. */
function grouped(text: string): string {
  return text.replace(/\d+/g, (digits) => Number(digits).toLocaleString('en-US'));
}

function hint(keep: boolean): void {
  const cli = 'npm run millrace -- --stack demo';
  if (!keep) {
    say(`\nto explore the data, run it again with: npm run demo -- --keep`);
    return;
  }
  say('\nthe stack is still up. Next:');
  say(`  ${cli} run --all            # the pipeline, until Ctrl-C`);
  say(`  ${cli} status               # each stage and its lag`);
  say(`  ${cli} candles ${symbol} --interval 5m`);
  say(`  ${cli} archive files cdc.public.trades`);
  say(`  ${cli} down                 # stop it; --wipe removes its data`);
}
