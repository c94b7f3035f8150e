/**
 * Rate at which the connector alone drains a backlog, and rate of loading a file: `npm run bench -- capture [rows]` on the stack `dev`. It
 * uses its own database, slot and topics, and removes them afterwards.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { applyConnector } from '../../connectors/apply.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { loadTrades } from '../../storage/load/load.ts';
import { writeSynthetic } from '../../storage/load/synthetic.ts';
import { testCapture } from '../../test/support/capture.ts';
import { eventually } from '../../test/support/patience.ts';

export const help = `bench capture [rows] [rounds]
  rates of loading a file, and of the connector alone while it drains a backlog`;

export async function run(args: readonly string[]): Promise<void> {
  const rows = Number(args[0] ?? 200_000);
  const rounds = Number(args[1] ?? 3);
  const dir = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  await using capture = await testCapture();
  const { client, definition, config, database } = capture;
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'millrace-bench' });

  await applyConnector(client, definition);
  await database.client.query(
    `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at) SELECT 'warm', 'up', g::text, 1, 1, now() FROM generate_series(1, 20000) g`,
  );
  await eventually(async () => (await total()) >= 20_000, 60_000);

  for (let round = 1; round <= rounds; round++) {
    const file = join(dir, `${round}.csv`);
    await writeSynthetic(file, { rows, seed: round, venue: `round${round}` });
    await client.pause(definition.name);
    await eventually(async () => (await client.status(definition.name))?.tasks[0]?.state === 'PAUSED');
    const loaded = await loadTrades({ url: database.url, file });
    const before = await total();
    await client.resume(definition.name);
    let first = 0;
    let last = 0;
    for (let seen = before; seen < before + rows; ) {
      const now = await total();
      if (now > seen) {
        last = performance.now();
        if (first === 0) first = last;
        seen = now;
      }
      await sleep(50);
    }
    const perSecond = Math.round(rows / ((last - first) / 1000));
    console.log(
      `round ${round}: loaded ${Math.round(rows / loaded.seconds)} rows/s (connector paused), captured ${perSecond} rows/s from a backlog of ${rows}`,
    );
  }
  await rm(dir, { recursive: true });

  /** Offsets including transaction markers: one per partition and transaction, too few to matter. */
  async function total(): Promise<number> {
    const ends = await log.ends(capture.topic('trades')).catch(() => []);
    return Number(ends.reduce((sum, end) => sum + end, 0n));
  }
}
