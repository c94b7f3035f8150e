/** Duration of a verification beside the running pipeline. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runtimeEnv, runtimeFlags } from '../../cli/demo/pipeline.ts';
import { verify } from '../../cli/proof/verify.ts';
import { stackDir } from '../../cli/settings/config.ts';
import { up } from '../../cli/stack/stack.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { Running } from '../windows/contestants.ts';
import { input, openDataset } from '../windows/dataset.ts';
import { backlogOf, watch } from '../windows/measure.ts';

export const help = `bench verify [--rows 1000000] [--runs 3] [--writes 0] [--stack bench]
  \`millrace verify\` over these trades, while capture, ohlcv and parquet run: seconds, CPU of this process, memory
  --writes  trades inserted per second meanwhile`;

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: 'string', default: '1000000' },
      runs: { type: 'string', default: '3' },
      writes: { type: 'string', default: '0' },
      stack: { type: 'string', default: 'bench' },
    },
  });
  const note = (text: string): void => console.error(text);
  await openDataset(values.stack, Number(values.rows), note);
  const { config } = await up(values.stack, { connectors: true, log: note });
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'bench' });
  await using schemas = new Registry({ url: config.registry.url });
  const backlog = await backlogOf(log, input);
  const logs = join(stackDir(values.stack), 'logs');
  await mkdir(logs, { recursive: true });
  await using pipeline = new Running(
    process.execPath,
    [...runtimeFlags, 'cli/main.ts', '--stack', values.stack, 'run', 'ohlcv', 'parquet', '--port', '0'],
    join(logs, 'bench-verify.log'),
    { ...process.env, ...runtimeEnv },
  );
  for (const name of ['ohlcv', 'parquet']) {
    await Promise.race([watch(log, groupOf(name), backlog, [pipeline.pid]), pipeline.ended()]);
  }
  await using _writer = writing(config.postgres.url, Number(values.writes));
  for (let round = 1; round <= Number(values.runs); round++) {
    const started = process.cpuUsage();
    const startedMs = performance.now();
    const { ok, checks } = await verify(config, log, schemas, { onWait: note });
    const { user, system } = process.cpuUsage(started);
    const seconds = (performance.now() - startedMs) / 1000;
    const peak = Math.round(process.resourceUsage().maxRSS / 1024);
    console.log(
      `${backlog.records} trades: ${seconds.toFixed(1)} s, ${((user + system) / 1e6).toFixed(1)} CPU s here, ${peak} MiB, ${ok ? 'no difference' : 'differences'}`,
    );
    for (const check of checks) {
      console.log(`  ${check.name}: ${check.subject}, ${check.differences} differences, ${check.seconds.toFixed(1)} s`);
    }
  }
}

/** Inserts trades with the present time until it is disposed of: ten transactions a second, for the existing symbols. */
function writing(url: string, perSecond: number): AsyncDisposable {
  const ended = new AbortController();
  const written = (async () => {
    if (perSecond === 0) return;
    await using db = await connectPostgres({ url, name: 'bench' });
    for (let count = 0; !ended.signal.aborted; count++) {
      await db.query(
        `INSERT INTO trades (venue, symbol, trade_id, price, size, side, executed_at)
         SELECT 'synthetic', 'SYM' || lpad((n % 48)::text, 3, '0') || '-USD', $1 || '-' || n, 100, 1, 'buy', clock_timestamp()
           FROM generate_series(1, $2::int) n`,
        [`live-${Date.now()}-${count}`, Math.ceil(perSecond / 10)],
      );
      await delay(100);
    }
  })();
  return {
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      await written;
    },
  };
}
