import { writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Findings } from './findings.ts';
import { type LoadOptions, type LoadProgress, loadTrades } from './load.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-'));
});
afterAll(() => rm(dir, { recursive: true }));

/** A check without Postgres: the port has no listener. */
async function check(lines: readonly string[], options: Partial<LoadOptions> = {}) {
  const file = join(dir, 'trades.csv');
  await rm(`${file}.rejects.csv`, { force: true });
  await writeFile(file, lines.join('\n'));
  const found: Findings[] = [];
  const work = loadTrades({
    url: 'postgres://nobody@127.0.0.1:1/none',
    file,
    check: true,
    ...options,
    onFindings: (findings) => found.push(findings),
  });
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown as Error & { code: string; remedy: string },
  );
  return { file, error, findings: found[0] };
}

const given = { venue: 'v', symbol: 's' };
const header = 'timestamp,price,amount';

describe('a check', () => {
  test('tells columns, rows and times, and that Postgres was not asked', async () => {
    const { error, findings } = await check([header, '1385337600,1,1', '1385337603,1,1'], given);
    expect(error).toBeUndefined();
    expect(findings).toMatchObject({
      format: 'auto',
      madeIds: true,
      rows: 2,
      symbols: 1,
      from: 1_385_337_600_000,
      to: 1_385_337_603_000,
      late: null,
      rejected: 0,
      rejectFile: null,
    });
  });

  test('refuses rejected rows beyond what was allowed, with counts by reason and the file of them', async () => {
    const lines = [header, '1385337600,"1,213.50",1', '1385337601,"1,214.50",1', '1385337602,1,-1', '1385337603,1,1'];
    const { file, error, findings } = await check(lines, given);
    expect(error).toMatchObject({
      code: 'LOAD_REFUSED',
      message: expect.stringContaining(
        '3 of 4 rows cannot be loaded (2 × price has thousands separators, 1 × size is negative)',
      ),
      remedy: expect.stringContaining(`${file}.rejects.csv`),
    });
    expect(findings?.rejects[0]).toMatchObject({ count: 2, line: 2 });
    expect((await readFile(`${file}.rejects.csv`, 'utf8')).trimEnd().split('\n')).toHaveLength(4);
    expect((await check(lines, { ...given, maxRejects: 3 })).error).toBeUndefined();
  });

  test('refuses rows that step back by more than the watermark delay, and takes them sorted', async () => {
    const lines = [header, '1385337606,1,1', '1385337601,1,1', '1385337600,1,1'];
    const { error, findings } = await check(lines, given);
    expect(error).toMatchObject({
      message: expect.stringContaining(
        'newest trades first: 1 of 3 rows are older than a row before them by more than 5000 ms',
      ),
      remedy: 'Give --sort to load the rows in the order of their times.',
    });
    expect(findings?.order).toMatchObject({ back: 2, worstBackMs: 6_000, newestFirst: true, sorted: false });
    expect((await check(lines, { ...given, watermarkDelayMs: 6_000 })).error).toBeUndefined();
    const sorted = await check(lines, { ...given, sort: true });
    expect([sorted.error, sorted.findings?.order.sorted]).toEqual([undefined, true]);
  });

  test('takes rows in disorder as they are only when they have ids', async () => {
    const lines = ['id,timestamp,price,amount', '1,1385337606,1,1', '2,1385337600,1,1'];
    expect((await check(lines, given)).error?.remedy).toContain('--allow-late');
    expect((await check(lines, { ...given, allowLate: true })).error).toBeUndefined();
    const made = await check([header, '1385337606,1,1', '1385337600,1,1'], { ...given, allowLate: true });
    expect(made.error?.message).toContain('trade ids cannot be made');
  });

  test('takes a file of one symbol after the other for ordered', async () => {
    const lines = ['symbol,timestamp,price,amount', 'a,1385337600,1,1', 'a,1385337699,1,1', 'b,1385337600,1,1'];
    expect((await check(lines, { venue: 'v' })).error).toBeUndefined();
  });
});

test('a file that is changed while it is read is refused', async () => {
  const lines = Array.from({ length: 30_000 }, (_, at) => `${1_385_337_600 - at},1,1`);
  const { error } = await check([header, ...lines], {
    ...given,
    sort: true,
    onProgress: ({ phase, bytes, totalBytes }: LoadProgress) => {
      if (phase === 'checking' && bytes === totalBytes) writeFileSync(join(dir, 'trades.csv'), header);
    },
  });
  expect(error?.message).toContain('was changed while it was read');
});
