import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { syntheticTrades } from '../synthetic.ts';
import { type BrokenLine, readCsv } from './reader.ts';

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
  test('is read with its line numbers for all line ends, with or without a byte order mark', async () => {
    for (const end of ['\n', '\r\n', '\r']) {
      const path = await file('plain.csv', `\ufeffa,b${end}1,"x,y"${end}${end}2,"q""q"`);
      expect((await read(path)).lines).toEqual([
        [1, 'a', 'b'],
        [2, '1', 'x,y'],
        [4, '2', 'q"q'],
      ]);
    }
  });

  test('gives the same lines when it is gzipped, also in several members', async () => {
    const text = [...syntheticTrades({ rows: 5000 })].join('');
    const plain = await file('p.csv', text);
    const packed = await file('p.csv.gz', gzipSync(text));
    expect((await read(packed)).lines).toEqual((await read(plain)).lines);
    const half = text.length / 2;
    const members = await file('m.csv.gz', Buffer.concat([gzipSync(text.slice(0, half)), gzipSync(text.slice(half))]));
    expect((await read(members)).lines).toEqual((await read(plain)).lines);
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

  test('in UTF-16 with a byte order mark is read', async () => {
    const text = '\ufefftimestamp,price\r\n1,€😀\r\n';
    const little = Buffer.from(text, 'utf16le');
    for (const content of [little, Buffer.from(little).swap16()]) {
      expect((await read(await file('utf16.csv', content))).lines).toEqual([
        [1, 'timestamp', 'price'],
        [2, '1', '€😀'],
      ]);
    }
  });

  test('may end its lines with CR also where a buffer ends', async () => {
    const lines = Array.from({ length: 100_000 }, (_, index) => `${index},x`);
    for (const end of ['\r', '\r\n']) {
      const found = await read(await file('cr.csv', lines.join(end)));
      expect(found.lines.every(([line, index], at) => line === at + 1 && index === String(at))).toBe(true);
      expect(found.lines).toHaveLength(lines.length);
    }
  });

  test('that is absent is one clear error', async () => {
    await expect(read(join(dir, 'absent.csv'))).rejects.toMatchObject({ code: 'LOAD_REFUSED' });
  });

  test('whose gzip is cut short or damaged says where', async () => {
    const packed = gzipSync([...syntheticTrades({ rows: 20_000 })].join(''));
    const damaged = Buffer.from(packed).fill(0xff, packed.length - 2_000, packed.length - 1_900);
    for (const content of [packed.subarray(0, packed.length - 2_000), damaged]) {
      await expect(read(await file('cut.csv.gz', content))).rejects.toMatchObject({
        code: 'LOAD_REFUSED',
        message: expect.stringMatching(/cut\.csv\.gz is damaged or cut short at byte \d{5,}, after line \d+: /),
      });
    }
  });

  test.each([
    ['zip', Buffer.from('PK\u0003\u0004rest'), 'a zip archive', 'unzip -p'],
    ['zip in a gzip', gzipSync('PK\u0003\u0004rest'), 'a zip archive', 'unzip -p'],
    ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 1]), 'packed with zstd', 'zstd -d'],
    ['Parquet', Buffer.from('PAR1....'), 'a Parquet file', 'duckdb'],
    ['UTF-16 without a mark', Buffer.from('a,b\n1,2\n', 'utf16le'), 'looks like UTF-16LE', 'iconv -f UTF-16LE'],
    ['binary', Buffer.from([65, 66, 67, 0, 1, 2, 10]), 'no text', 'CSV'],
  ])('that is %s is named', async (_name, content, kind, remedy) => {
    await expect(read(await file('other.csv', content))).rejects.toMatchObject({
      code: 'LOAD_REFUSED',
      message: expect.stringContaining(kind),
      remedy: expect.stringContaining(remedy),
    });
  });
});

test('synthetic trades are the same for the same seed, and others for another', () => {
  const of = (seed: number) => [...syntheticTrades({ rows: 2000, seed })].join('');
  expect(of(3)).toBe(of(3));
  expect(of(3)).not.toBe(of(4));
  expect(of(3).trimEnd().split('\n')).toHaveLength(2001);
});
