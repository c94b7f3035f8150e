/** What an operator does on a real stack: replays, dead letters, holding back, moving, a processor of one's own. Each by its command. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { projectDir } from '../../cli/settings/config.ts';
import { eventTimes } from '../../cli/status/event-times.ts';
import { readStages, stages } from '../../cli/status/stages.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import { GroupAdmin } from '../../core/kafka/groups.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { syntheticTrades } from '../../storage/load/synthetic.ts';
import { eventually, until } from '../support/patience.ts';
import { Home, type Replayed } from './home.ts';
import { settled } from './witness.ts';

const rows = 4_000;
let home: Home;

async function sql(...statements: string[]): Promise<void> {
  const db = await connectPostgres({ url: (await home.config()).postgres.url, name: 'operations test' });
  try {
    for (const statement of statements) await db.query(statement);
  } finally {
    await db.end();
  }
}

async function caughtUp(...names: string[]): Promise<void> {
  const { kafka, registry } = await home.config();
  await using log = new KafkaLog({ ...kafka });
  await using schemas = new Registry(registry);
  const wanted = stages.filter(({ name }) => names.includes(name));
  let quiet = 0;
  await until(
    () => readStages({ log, stages: wanted, eventTimeOf: eventTimes(schemas) }),
    (lags) => {
      quiet = lags.every(({ started, lagRecords }) => started && lagRecords === 0n) ? quiet + 1 : 0;
      return quiet === 2;
    },
    { pauseMs: 500 },
  );
}

/** A process of it has partitions. */
async function working(name: string): Promise<void> {
  const { brokers, clientId } = (await home.config()).kafka;
  await using groups = await GroupAdmin.open({ brokers, clientId });
  await eventually(async () => (await groups.members(groupOf(name))).length > 0);
}

beforeAll(async () => {
  home = Home.shared('operations-test');
  await home.up();
});

afterAll(() => home[Symbol.asyncDispose]());

test('a history with late, corrected, cancelled and refused trades, and a kill, is replayed without a difference', async () => {
  home.start('ohlcv', 'anomaly');
  const file = join(home.dir, 'trades.csv');
  await writeFile(file, [...syntheticTrades({ rows, symbols: 12, seed: 7, perSecond: 2 })].join(''));
  expect((await home.cli('load', 'trades', file)).code).toBe(0);
  await home.stop('SIGKILL', 'ohlcv', 'anomaly');
  await sql(
    'UPDATE trades SET price = price + 1 WHERE trade_id IN (SELECT trade_id FROM trades ORDER BY executed_at LIMIT 40)',
    'DELETE FROM trades WHERE trade_id IN (SELECT trade_id FROM trades ORDER BY executed_at DESC LIMIT 30)',
    `INSERT INTO trades SELECT venue, symbol, trade_id || '-late', NULL, price, size, side, executed_at FROM trades ORDER BY executed_at LIMIT 25`,
    `INSERT INTO trades VALUES ('v', 'FUTURE', 'f1', NULL, 1, 1, 'buy', now() + interval '1 hour')`,
  );
  home.start('ohlcv', 'anomaly');
  await caughtUp('ohlcv', 'anomaly');
  for (const name of ['ohlcv', 'anomaly']) {
    const { examples, ok, topics, records } = await home.json<Replayed>('replay', name);
    expect(examples).toEqual([]);
    expect(ok).toBe(true);
    for (const { given, compared } of topics) expect(compared).toBe(given);
    if (name === 'anomaly') continue;
    expect(records).toBe(rows + 40 + 30 + 25 + 1);
    expect(topics.find(({ topic }) => topic === 'market.candles')?.compared).toBeGreaterThan(100);
    expect(topics.find(({ topic }) => topic === 'ohlcv.late')?.compared).toBeGreaterThan(50);
    expect(topics.find(({ topic }) => topic === 'ohlcv.dead')?.compared).toBe(1);
  }
});

test('a dead letter is redriven once, and refused again with its first origin', async () => {
  const list = () =>
    home.json<{ letters: { letter: string; attempts: number; origin: string; firstOrigin: string }[] }>(
      'dead',
      'list',
      'ohlcv',
    );
  const [before] = (await list()).letters;
  expect((await home.cli('dead', 'redrive', 'ohlcv')).code).toBe(1);
  expect((await home.json<{ redrive: number }>('dead', 'redrive', 'ohlcv', '--yes')).redrive).toBe(1);
  await caughtUp('ohlcv');
  const after = (await list()).letters;
  expect(after.map(({ attempts }) => attempts)).toEqual([1, 2]);
  expect(after[1]?.firstOrigin).toBe(before?.origin);
  expect(await home.json('dead', 'redrive', 'ohlcv', '--yes', '--filter', `letter=${before?.letter}`)).toMatchObject({
    redrive: 0,
    done: 1,
  });
  expect((await home.json<Replayed>('replay', 'ohlcv')).differences).toBe(0);
});

test('a paused task keeps what it has to do, also over a restart, until it is resumed', async () => {
  await home.cli('task', 'pause', 'ohlcv', '--reason', 'test');
  await home.stop('SIGTERM', 'ohlcv', 'anomaly');
  home.start('ohlcv', 'anomaly');
  await sql(`INSERT INTO trades VALUES ('v', 'PAUSED', 'p1', NULL, 1, 1, 'buy', now())`);
  const lag = async () => {
    const { stages } = await home.json<{ stages: { stage: string; lagRecords: string }[] }>('status');
    return stages.find(({ stage }) => stage === 'ohlcv')?.lagRecords;
  };
  await until(lag, (records) => records !== '0');
  await working('ohlcv');
  await delay(2_000);
  expect(await lag()).not.toBe('0');
  await home.cli('task', 'resume', 'ohlcv');
  await caughtUp('ohlcv');
});

test('a reset is refused while the processor runs; stopped, it makes the same again, and a replay of the new history verifies', async () => {
  const running = await home.cli('offsets', 'reset', 'ohlcv', '--to', 'earliest', '--yes');
  expect([running.code, running.errors]).toEqual([1, expect.stringContaining('GROUP_ACTIVE')]);
  await home.stop('SIGTERM', 'ohlcv', 'anomaly');
  expect((await home.cli('offsets', 'reset', 'ohlcv', '--to', 'earliest', '--yes')).code).toBe(0);
  home.start('ohlcv');
  await caughtUp('ohlcv');
  const { examples, records } = await home.json<Replayed>('replay', 'ohlcv');
  expect(examples).toEqual([]);
  expect(records).toBeGreaterThan(rows);
});

test("a processor of the user's own is scaffolded, gets its topics, runs, and is replayed", async () => {
  const dir = join(projectDir, '.millrace', `own-${process.pid}`);
  const module = join(dir, 'trade-count.ts');
  try {
    expect((await home.cli('new', 'processor', 'trade-count', '--dir', dir)).code).toBe(0);
    expect((await home.cli('topics', 'apply', '--module', module)).code).toBe(0);
    home.start('--module', module);
    const { examples } = await until(
      () => home.json<Replayed>('replay', '--module', module),
      ({ topics }) => (topics[0]?.compared ?? 0) > 0,
      { pauseMs: 1_000 },
    );
    expect(examples).toEqual([]);
    await home.stop('SIGTERM', '--module', module);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('a version beside the one that runs gives the same, readers are swapped to it and back, and it is dropped', async () => {
  expect((await home.cli('deploy', 'start', 'ohlcv', '--suffix', 'green')).code).toBe(0);
  home.start('ohlcv', '--suffix', 'green');
  await until(
    () => home.json<{ ok: boolean; checks: { subject: string }[] }>('deploy', 'diff', 'ohlcv', '--suffix', 'green'),
    ({ ok }) => ok,
    { pauseMs: 1_000 },
  );
  await home.stop('SIGTERM', 'ohlcv', '--suffix', 'green');
  await home.stop('SIGTERM', 'ohlcv');
  expect((await home.cli('deploy', 'swap', 'ohlcv', '--suffix', 'green')).code).toBe(1);
  expect((await home.json<object[]>('deploy', 'list')).length).toBe(0);
  expect(await home.cli('deploy', 'swap', 'ohlcv', '--suffix', 'green', '--yes')).toMatchObject({ code: 0 });
  expect(await home.json('deploy', 'list')).toMatchObject([{ name: 'market.candles', target: 'market.candles.green' }]);
  expect((await home.cli('candles', 'SYM001-USD')).code).toBe(0);
  expect((await home.cli('deploy', 'drop', 'ohlcv', '--suffix', 'green', '--yes')).errors).toContain('GROUP_ACTIVE');
  home.start('anomaly');
  await working('anomaly');
  await using log = new KafkaLog({ ...(await home.config()).kafka });
  await settled(log, [['anomaly', 'market.candles.green']]);
  await home.stop('SIGTERM', 'anomaly');
  expect((await home.cli('deploy', 'swap', 'ohlcv', '--suffix', 'green', '--back', '--yes')).code).toBe(0);
  expect((await home.cli('deploy', 'drop', 'ohlcv', '--suffix', 'green', '--yes')).code).toBe(0);
  expect((await home.json<object[]>('deploy', 'list')).length).toBe(0);
});
