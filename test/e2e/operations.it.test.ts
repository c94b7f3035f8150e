/** What an operator does on a real stack: replays, dead letters, holding back, moving, a processor of one's own. Each by its command. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { projectDir } from '../../cli/settings/config.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import { syntheticTrades } from '../../storage/load/synthetic.ts';
import { Home, type Replayed } from './home.ts';

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

interface Stage {
  readonly stage: string;
  readonly started: boolean;
  readonly lagRecords: string;
}

async function caughtUp(...names: string[]): Promise<void> {
  const giveUpAt = Date.now() + 150_000;
  let quiet = 0;
  while (quiet < 2) {
    const { stages } = await home.json<{ stages: Stage[] }>('status');
    const done = stages
      .filter(({ stage }) => names.includes(stage))
      .every((each) => each.started && each.lagRecords === '0');
    quiet = done ? quiet + 1 : 0;
    if (Date.now() > giveUpAt) throw new Error(`not caught up: ${JSON.stringify(stages)}`);
    await delay(500);
  }
}

beforeAll(async () => {
  home = await Home.open('operations-test');
  await home.up();
}, 240_000);

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
    const { examples, ok, topics } = await home.json<Replayed>('replay', name);
    expect(examples).toEqual([]);
    expect(ok).toBe(true);
    for (const { given, compared } of topics) expect(compared).toBe(given);
  }
  const { topics, records } = await home.json<Replayed>('replay', 'ohlcv');
  expect(records).toBe(rows + 40 + 30 + 25 + 1);
  expect(topics.find(({ topic }) => topic === 'market.candles')?.compared).toBeGreaterThan(100);
  expect(topics.find(({ topic }) => topic === 'ohlcv.late')?.compared).toBeGreaterThan(50);
  expect(topics.find(({ topic }) => topic === 'ohlcv.dead')?.compared).toBe(1);
}, 300_000);

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
    const { stages } = await home.json<{ stages: Stage[] }>('status');
    return stages.find(({ stage }) => stage === 'ohlcv')?.lagRecords;
  };
  while ((await lag()) === '0') await delay(300);
  await delay(3_000);
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
    const giveUpAt = Date.now() + 150_000;
    let replayed: Replayed | undefined;
    while ((replayed?.topics[0]?.compared ?? 0) === 0) {
      if (Date.now() > giveUpAt) throw new Error(`nothing was published: ${JSON.stringify(replayed)}`);
      await delay(1_000);
      replayed = await home.json<Replayed>('replay', '--module', module);
    }
    expect(replayed?.examples).toEqual([]);
    await home.stop('SIGTERM', '--module', module);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('a version beside the one that runs gives the same, readers are swapped to it and back, and it is dropped', async () => {
  expect((await home.cli('deploy', 'start', 'ohlcv', '--suffix', 'green')).code).toBe(0);
  home.start('ohlcv', '--suffix', 'green');
  const giveUpAt = Date.now() + 150_000;
  for (;;) {
    const { ok, checks } = await home.json<{ ok: boolean; checks: { subject: string }[] }>(
      'deploy',
      'diff',
      'ohlcv',
      '--suffix',
      'green',
    );
    if (ok) break;
    if (Date.now() > giveUpAt) throw new Error(JSON.stringify(checks));
    await delay(1_000);
  }
  await home.stop('SIGTERM', 'ohlcv', '--suffix', 'green');
  await home.stop('SIGTERM', 'ohlcv');
  expect((await home.cli('deploy', 'swap', 'ohlcv', '--suffix', 'green')).code).toBe(1);
  expect((await home.json<object[]>('deploy', 'list')).length).toBe(0);
  expect(await home.cli('deploy', 'swap', 'ohlcv', '--suffix', 'green', '--yes')).toMatchObject({ code: 0 });
  expect(await home.json('deploy', 'list')).toMatchObject([{ name: 'market.candles', target: 'market.candles.green' }]);
  expect((await home.cli('candles', 'SYM001-USD')).code).toBe(0);
  expect((await home.cli('deploy', 'drop', 'ohlcv', '--suffix', 'green', '--yes')).errors).toContain('GROUP_ACTIVE');
  home.start('anomaly');
  await delay(8_000);
  await home.stop('SIGTERM', 'anomaly');
  expect((await home.cli('deploy', 'swap', 'ohlcv', '--suffix', 'green', '--back', '--yes')).code).toBe(0);
  expect((await home.cli('deploy', 'drop', 'ohlcv', '--suffix', 'green', '--yes')).code).toBe(0);
  expect((await home.json<object[]>('deploy', 'list')).length).toBe(0);
}, 300_000);
