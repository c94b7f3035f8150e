/** How long a verification takes beside the running pipeline. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stackDir } from '../cli/config.ts';
import { runtimeEnv, runtimeFlags } from '../cli/demo/pipeline.ts';
import { up } from '../cli/stack.ts';
import { verify } from '../cli/verify.ts';
import { Registry } from '../core/avro/registry.ts';
import { KafkaLog } from '../core/kafka/log.ts';
import { groupOf } from '../core/runtime/runner.ts';
import { Running } from './windows/contestants.ts';
import { input, openDataset } from './windows/dataset.ts';
import { backlogOf, watch } from './windows/measure.ts';

export const help = `bench verify [--rows 1000000] [--runs 3] [--stack bench]
  \`millrace verify\` over that many trades, beside capture, ohlcv and parquet: seconds, CPU of this process, memory`;

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: 'string', default: '1000000' },
      runs: { type: 'string', default: '3' },
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
