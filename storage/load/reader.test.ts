import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type BrokenLine, contentHash, readCsv } from './reader.ts';
import { syntheticTrades } from './synthetic.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-'));
});
afterAll(() => rm(dir, { recursive: true }));

async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, content);
  return path;
}

async function read(path: string) {
  const broken: BrokenLine[] = [];
  const source = await readCsv({ file: path, onBroken: (line) => broken.push(line) });
  const lines = [];
  for await (const { cells, line } of source.lines) lines.push([line, ...cells]);
  return { lines, broken, bytes: source.bytesRead() };
}

describe('a CSV file', () => {
  test('is read with its line numbers, whatever ends its lines, with or without a byte order mark', async () => {
    for (const end of ['\n', '\r\n']) {
      const path = await file('plain.csv', `\ufeffa,b${end}1,"x,y"${end}${end}2,"q""q"`);
      expect((await read(path)).lines).toEqual([
        [1, 'a', 'b'],
        [2, '1', 'x,y'],
        [4, '2', 'q"q'],
      ]);
    }
  });

  test('gives the same lines and the same hash when it is gzipped', async () => {
    const text = [...syntheticTrades({ rows: 5000 })].join('');
    const plain = await file('p.csv', text);
    const packed = await file('p.csv.gz', gzipSync(text));
    expect((await read(packed)).lines).toEqual((await read(plain)).lines);
    expect(await contentHash(packed)).toBe(await contentHash(plain));
  });

  test('loses one line, and no more, to a stray quote', async () => {
    const { lines, broken } = await read(await file('broken.csv', 'a,b\n1,x"y\n2,z\n"3,w\n4,v\n'));
    expect(broken).toMatchObject([
      { line: 2, raw: '1,x"y' },
      { line: 4, raw: '"3,w' },
    ]);
    expect(lines.map(([line]) => line)).toEqual([1, 3, 5]);
  });

  test('may be cut anywhere by the buffers it is read in', async () => {
    const long = Array.from({ length: 60_000 }, (_, index) => `${index},€😀`);
    const { lines } = await read(await file('long.csv', `${long.join('\n')}\n`));
    expect(lines).toHaveLength(long.length);
    expect(lines.every(([, index, text], at) => index === String(at) && text === '€😀')).toBe(true);
  });

  test('that is absent, or a gzip cut short, is one clear error', async () => {
    await expect(read(join(dir, 'absent.csv'))).rejects.toMatchObject({ code: 'LOAD_REFUSED' });
    const text = [...syntheticTrades({ rows: 5000 })].join('');
    const cut = await file('cut.csv.gz', gzipSync(text).subarray(0, 20_000));
    await expect(read(cut)).rejects.toMatchObject({
      code: 'LOAD_REFUSED',
      message: expect.stringContaining('cut.csv.gz'),
    });
  });
});

test('synthetic trades are the same for the same seed, and others for another', () => {
  const of = (seed: number) => [...syntheticTrades({ rows: 2000, seed })].join('');
  expect(of(3)).toBe(of(3));
  expect(of(3)).not.toBe(of(4));
  expect(of(3).trimEnd().split('\n')).toHaveLength(2001);
});
