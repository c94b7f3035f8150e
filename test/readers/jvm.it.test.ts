/** The archive's files by Apache Parquet's own reader on the JVM, which Spark and its kin share. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cacheDir } from '../../cli/settings/config.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import { findJava } from '../../infra/local/install/java.ts';
import { ensurePom } from '../../infra/local/install/maven.ts';
import { minimumJava } from '../../infra/local/parts.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import { type Archive, makeArchive, writeArchive } from './archive.ts';

interface ReadFile {
  readonly rows: bigint;
  readonly rowHash: string;
  /** Texts of all columns, null as null. */
  readonly values: readonly (readonly (string | null)[])[];
}

let dir: string;
let archive: Archive;
let paths: ReadonlyMap<ArchivedTopic, readonly string[]>;
let read: ReadonlyMap<string, ReadFile>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-jvm-'));
  archive = await makeArchive();
  paths = await writeArchive(archive, dir);
  const host = { env: process.env, cacheDir: cacheDir() };
  const java = await findJava(minimumJava, host.env);
  const pom = join(import.meta.dirname, 'pom.xml');
  const jars = await ensurePom({ host, name: 'readers', pom, javaHome: java.home });
  const { stdout } = await promisify(execFile)(
    java.command,
    ['-cp', join(jars, '*'), join(import.meta.dirname, 'Read.java'), ...[...paths.values()].flat()],
    { maxBuffer: 1 << 24 },
  );
  read = parse(stdout);
});

afterAll(() => rm(dir, { recursive: true, force: true }));

function parse(output: string): ReadonlyMap<string, ReadFile> {
  const found = new Map<string, ReadFile>();
  const lines = output.trimEnd().split('\n');
  for (let at = 0; at < lines.length; ) {
    const [file = '', rows = '', rowHash = ''] = lines[at++]?.split('\t') ?? [];
    const values = lines.slice(at, at + Number(rows)).map((line) =>
      Buffer.from(line, 'base64')
        .toString()
        .split('\u001f')
        .map((text) => (text === '\u001e' ? null : text)),
    );
    at += Number(rows);
    found.set(file, { rows: BigInt(rows), rowHash, values });
  }
  return found;
}

test('each file has the rows and the row hash of its record: every value is exactly what was archived', () => {
  const listed = [...archive.objects.values()].flat();
  expect(listed.length).toBeGreaterThan(4);
  for (const { key, rows, row_hash } of listed) {
    expect([key, read.get(join(dir, key))]).toMatchObject([key, { rows, rowHash: row_hash }]);
  }
});

test('decimals of 38 digits, times before 1970, 64-bit extremes and nulls are exact', () => {
  const [file = ''] = paths.get('market.candles') ?? [];
  const [values] = read.get(file)?.values ?? [];
  expect(values).toEqual([
    'bitstamp',
    'BTC-USD',
    '1m',
    '1385423940000000',
    '1385424000000000',
    '850.12000001',
    '999999999999.99999999',
    '-999999999999.99999999',
    null,
    '-0.00000001',
    '999999999999999999999999999999.99999999',
    '-9999999999999999999999.9999999999999999',
    '9007199254740993',
    'a',
    null,
    '1385423940000001',
    '-1',
    null,
    null,
    'CLOSED',
    '1',
    'WATERMARK',
    '1',
    '1',
    '9223372036854775807',
    '-9223372036854775808',
    '4611686018427387905',
    'market.candles',
    '0',
    '0',
    '4611686018427387905',
    null,
    '1700000000000000',
    null,
    '1700000000000000',
    null,
    null,
    null,
  ]);
});

test('texts of all kinds and microseconds of trades are exact', () => {
  const rows = (paths.get('cdc.public.trades') ?? []).flatMap((file) => read.get(file)?.values ?? []);
  const of = (id: string) => rows.filter((row) => row[2] === id);
  expect(of('text')[0]?.[8]).toBe('é\u0000 "x",\n\u{1f600}');
  expect([of('empty')[0]?.[8], of('plain')[0]?.[8]]).toEqual(['', null]);
  expect(of('moved').map((row) => formatTimestamp(BigInt(row[7] ?? 0)))).toEqual([
    '2013-11-25T23:59:59.123456Z',
    '2013-11-26T00:00:00.000001Z',
  ]);
});
