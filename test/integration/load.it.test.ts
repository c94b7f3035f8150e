import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { projectDir } from '../../cli/config.ts';
import { formats } from '../../storage/load/formats.ts';
import { loadTrades } from '../../storage/load/load.ts';
import { syntheticTrades } from '../../storage/load/synthetic.ts';
import { migrate } from '../../storage/migrate.ts';
import { type TestDatabase, testDatabase } from '../capture.ts';
import { testConfig } from '../stack.ts';

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
    const result = await loadTrades({ url: database.url, file: path, venue: 'bad', symbol: 'rows' });
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

  test('makes trade ids of content and line, the same for a file and its gzip, and keeps the order of lines', async () => {
    const text =
      'timestamp,price,amount\r\n1385337600,800.010000000000,0.1\r\n1385337600,800.05,0\r\n1385337600,799,0.3';
    const options = { url: database.url, format: formats.bitstamp, symbol: 'BTC-USD' };
    const plain = await loadTrades({ ...options, file: await file('bitstamp.csv', text) });
    const packed = await loadTrades({ ...options, file: await file('bitstamp.csv.gz', gzipSync(text)) });
    expect([plain.inserted, packed.inserted, packed.present]).toEqual([3, 0, 3]);
    const { rows } = await database.client.query(
      `SELECT trade_id, venue_sequence, price FROM trades WHERE venue = 'bitstamp' ORDER BY venue_sequence`,
    );
    expect(rows.map(({ venue_sequence, price }) => [venue_sequence, price])).toEqual([
      ['2', '800.01000000'],
      ['3', '800.05000000'],
      ['4', '799.00000000'],
    ]);
    expect(rows[0].trade_id).toMatch(/^[0-9a-f]{16}-2$/);
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
