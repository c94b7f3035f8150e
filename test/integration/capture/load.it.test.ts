import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { projectDir } from '../../../cli/settings/config.ts';
import { loadTrades } from '../../../storage/load/load.ts';
import { syntheticTrades } from '../../../storage/load/synthetic.ts';
import { migrate } from '../../../storage/migrate.ts';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { testConfig } from '../../support/stack.ts';

let database: TestDatabase;
let dir: string;

beforeAll(async () => {
  database = await testDatabase(testConfig());
  dir = await mkdtemp(join(tmpdir(), 'millrace-'));
});

afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, content);
  return path;
}

async function count(where: string): Promise<number> {
  const { rows } = await database.client.query<{ n: number }>(`SELECT count(*)::int AS n FROM trades WHERE ${where}`);
  return rows[0]?.n ?? -1;
}

const synthetic = (rows: number, seed: number) => [...syntheticTrades({ rows, seed, venue: `seed${seed}` })].join('');

test('migrations applied again, and by two at once, do nothing', async () => {
  const options = { url: database.url, dir: join(projectDir, 'infra', 'sql') };
  expect(await Promise.all([migrate(options), migrate(options)])).toEqual([[], []]);
});

describe('a load', () => {
  test('adds every row once: a second load adds nothing', async () => {
    const path = await file('twice.csv', synthetic(5000, 1));
    const first = await loadTrades({ url: database.url, file: path, batchRows: 700 });
    expect(first).toMatchObject({ read: 5000, inserted: 5000, present: 0, rejected: 0, rejectFile: undefined });
    const second = await loadTrades({ url: database.url, file: path, batchRows: 700 });
    expect(second).toMatchObject({ read: 5000, inserted: 0, present: 5000, rejected: 0 });
    expect(await count(`venue = 'seed1'`)).toBe(5000);
  });

  test('that was interrupted keeps what was committed, and goes on when started again', async () => {
    const path = await file('interrupted.csv', synthetic(20_000, 2));
    const stop = new AbortController();
    const interrupted = loadTrades({
      url: database.url,
      file: path,
      batchRows: 1000,
      signal: stop.signal,
      onProgress: ({ inserted }) => {
        if (inserted >= 3000) stop.abort(new Error('stopped here'));
      },
    });
    await expect(interrupted).rejects.toThrow('stopped here');
    const kept = await count(`venue = 'seed2'`);
    expect(kept).toBeGreaterThanOrEqual(3000);
    expect(kept).toBeLessThan(20_000);
    expect(kept % 1000).toBe(0);
    const rest = await loadTrades({ url: database.url, file: path });
    expect(rest).toMatchObject({ read: 20_000, inserted: 20_000 - kept, present: kept });
  });

  test('whose connection breaks says so, and goes on when started again', async () => {
    const path = await file('broken.csv', synthetic(20_000, 3));
    const broken = loadTrades({
      url: database.url,
      file: path,
      batchRows: 1000,
      onProgress: ({ inserted }) => {
        if (inserted !== 3000) return;
        database.client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'millrace load' AND datname = current_database()`);
      },
    });
    await expect(broken).rejects.toMatchObject({ code: 'POSTGRES_UNREACHABLE' });
    await loadTrades({ url: database.url, file: path });
    expect(await count(`venue = 'seed3'`)).toBe(20_000);
  });

  test('puts bad rows into the reject file with line and reason, and loads the others', async () => {
    const path = await file(
      'bad.csv',
      [
        'id,timestamp,price,amount,side',
        '1,1385337600,800.01,1,buy',
        '2,1385337600,eight hundred,1,buy',
        '3,1385337600,800.123456789,1,buy',
        '4,1385337600,800.01,1',
        '5,yesterday,800.01,1,sell',
        '6,1385337601,"800,01",1,sell',
        '7,1385337601,800.02,"1,sell',
        '',
        '8,1385337602,800.03,0.5,sell',
        '1,1385337602,800.04,1,buy',
      ].join('\r\n'),
    );
    const options = { url: database.url, file: path, venue: 'bad', symbol: 'rows' };
    await expect(loadTrades({ ...options, maxRejects: 5 })).rejects.toMatchObject({
      code: 'LOAD_REFUSED',
      message: expect.stringContaining('6 of 9 rows cannot be loaded'),
    });
    expect(await count(`venue = 'bad'`)).toBe(0);
    const result = await loadTrades({ ...options, maxRejects: 6 });
    expect(result).toMatchObject({ read: 9, inserted: 2, present: 0, rejected: 7, rejectFile: `${path}.rejects.csv` });
    const lines = (await readFile(`${path}.rejects.csv`, 'utf8')).trimEnd().split('\n');
    expect(lines[0]).toBe('line,reason,raw');
    expect(
      lines
        .slice(1)
        .map((line) => Number(line.split(',', 1)[0]))
        .sort((a, b) => a - b),
    ).toEqual([3, 4, 5, 6, 7, 8, 11]);
    expect(lines.find((line) => line.startsWith('4,'))).toBe(
      '4,"price: 800.123456789 has more than 8 fraction digits","3,1385337600,800.123456789,1,buy"',
    );
    expect(lines.find((line) => line.startsWith('11,'))).toContain('is there with other values');
  });

  test('makes trade ids of content, the same for a file and its gzip, and keeps the order of lines', async () => {
    const prices = ['800.010000000000', '800.05', '799', '800.2', '800.1', '800.05'];
    const text = `timestamp,price,amount\r\n${prices.map((price) => `1385337600,${price},0.1`).join('\r\n')}`;
    const options = { url: database.url, format: 'bitstamp', symbol: 'BTC-USD' } as const;
    const plain = await loadTrades({ ...options, file: await file('bitstamp.csv', text) });
    const packed = await loadTrades({ ...options, file: await file('bitstamp.csv.gz', gzipSync(text)) });
    expect([plain.inserted, packed.inserted, packed.present]).toEqual([6, 0, 6]);
    const { rows } = await database.client.query<{ price: string }>(
      `SELECT price FROM trades WHERE venue = 'bitstamp' ORDER BY executed_at, venue_sequence NULLS FIRST, trade_id COLLATE "C"`,
    );
    expect(rows.map(({ price }) => Number(price))).toEqual(prices.map(Number));
  });

  test('of a file without ids that grew adds only what is new, also newest first', async () => {
    const line = (second: number) => `${1_385_337_600 + Math.floor(second / 3)},${800 + (second % 2)},1`;
    const lines = Array.from({ length: 120 }, (_, second) => line(second));
    const options = { url: database.url, venue: 'grown', symbol: 's', sort: true };
    const csv = (some: readonly string[]) => ['timestamp,price,amount', ...some].join('\n');
    const first = await loadTrades({ ...options, file: await file('grown.csv', csv(lines.slice(0, 100))) });
    const second = await loadTrades({ ...options, file: await file('grown.csv', csv(lines)) });
    const third = await loadTrades({ ...options, file: await file('desc.csv', csv(lines.toReversed())) });
    expect([first.inserted, second.inserted, second.present, third.inserted]).toEqual([100, 20, 100, 0]);
  });

  test('of a file that is not in order loads nothing, or sorts it: the log has rows in the order of times', async () => {
    const lines = Array.from({ length: 480 }, (_, index) => `${1_700_000_000 + index * 30},${100 + index / 100},1`);
    const path = await file('newest.csv', ['timestamp,price,amount', ...lines.toReversed()].join('\n'));
    const options = { url: database.url, file: path, venue: 'newest', symbol: 's', batchRows: 100 };
    await expect(loadTrades(options)).rejects.toMatchObject({
      code: 'LOAD_REFUSED',
      message: expect.stringContaining('newest trades first: 479 of 480 rows'),
      remedy: expect.stringContaining('--sort'),
    });
    expect(await count(`venue = 'newest'`)).toBe(0);
    await database.client.query(`
      CREATE TABLE seen (place bigserial, at timestamptz);
      CREATE FUNCTION note_seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO seen (at) VALUES (NEW.executed_at); RETURN NEW; END';
      CREATE TRIGGER note_seen AFTER INSERT ON trades FOR EACH ROW WHEN (NEW.venue = 'newest') EXECUTE FUNCTION note_seen()`);
    expect(await loadTrades({ ...options, sort: true })).toMatchObject({ read: 480, inserted: 480 });
    const { rows } = await database.client.query<{ at: Date }>('SELECT at FROM seen ORDER BY place');
    expect(rows.map(({ at }) => at.getTime() / 1000)).toEqual(lines.map((line) => Number(line.split(',', 1)[0])));
  });

  test('of history under newer trades loads nothing, unless it may be late; a file that is there already is no news', async () => {
    const csv = (from: number, symbol: string) => [
      'id,symbol,timestamp,price,amount',
      ...Array.from({ length: 20 }, (_, at) => `${from + at},${symbol},${from + at},1,1`),
    ];
    const newer = await file('newer.csv', csv(1_700_000_000, 'a').join('\n'));
    const options = { url: database.url, venue: 'history' };
    await loadTrades({ ...options, file: newer });
    const older = await file('older.csv', [...csv(1_699_000_000, 'a'), ...csv(1_600_000_000, 'b').slice(1)].join('\n'));
    await expect(loadTrades({ ...options, file: older })).rejects.toMatchObject({
      code: 'LOAD_REFUSED',
      message: expect.stringContaining('20 new trades of history a are too late'),
      remedy: expect.stringContaining('--allow-late'),
    });
    expect(await count(`venue = 'history'`)).toBe(20);
    const late = await loadTrades({ ...options, file: older, allowLate: true });
    expect(late).toMatchObject({
      inserted: 40,
      findings: { late: [{ symbol: 'a', trades: 20, from: 1_699_000_000_000 }] },
    });
    for (const again of [older, newer]) {
      expect(await loadTrades({ ...options, file: again })).toMatchObject({ inserted: 0, findings: { late: [] } });
    }
  });

  test('gives a symbol no sequence that the file does not have, so that no gap is seen between symbols', async () => {
    const lines = Array.from({ length: 20 }, (_, at) => `${at % 2 ? 'A' : 'B'},1,1,${1_690_000_000_000 + at * 1000}`);
    const path = await file('two.csv', ['symbol,price,size,timestamp', ...lines].join('\n'));
    expect(await loadTrades({ url: database.url, file: path, venue: 'two' })).toMatchObject({ inserted: 20 });
    expect(await count(`venue = 'two' AND venue_sequence IS NULL`)).toBe(20);
  });

  test('of an empty file, of a folder, or into a database without tables is one clear error', async () => {
    await expect(loadTrades({ url: database.url, file: await file('empty.csv', '') })).rejects.toMatchObject({
      code: 'LOAD_REFUSED',
    });
    await expect(loadTrades({ url: database.url, file: dir })).rejects.toMatchObject({ code: 'LOAD_REFUSED' });
    const path = await file('one.csv', synthetic(1, 9));
    const other = new URL(database.url);
    other.pathname = '/postgres';
    await expect(loadTrades({ url: other.href, file: path })).rejects.toMatchObject({
      code: 'POSTGRES_REFUSED',
      remedy: expect.stringContaining('db migrate'),
    });
  });
});
