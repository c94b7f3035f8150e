/** A topic of real Debezium envelopes: generated trades, loaded into Postgres and captured once. Later runs reuse it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { up } from '../../cli/stack/stack.ts';
import type { Config } from '../../core/base/config.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { loadTrades } from '../../storage/load/load.ts';
import { writeSynthetic } from '../../storage/load/synthetic.ts';

export const input = 'cdc.public.trades';
/** Enough to use every partition, with some hundred trades in each window. */
const symbols = 48;
const perSecond = 200;

/** Starts the stack with at least `rows` captured trades, and stops the parts that the benchmark does not need. */
export async function openDataset(name: string, rows: number, note: (text: string) => void): Promise<Config> {
  const { stack, config } = await up(name, { log: note });
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'bench' });
  if ((await captured(log)) < rows) {
    await up(name, { connectors: true, log: note });
    const dir = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
    try {
      const file = join(dir, 'trades.csv');
      await writeSynthetic(file, { rows, symbols, perSecond });
      note(`loading ${rows} trades`);
      await loadTrades({ url: config.postgres.url, file });
    } finally {
      await rm(dir, { recursive: true });
    }
    note('waiting for capture');
    while ((await captured(log)) < rows) await delay(500);
  }
  await stack.stopParts(['connect']);
  return config;
}

async function captured(log: KafkaLog): Promise<number> {
  const ends = await log.ends(input).catch(() => []);
  return Number(ends.reduce((sum, end) => sum + end, 0n));
}
