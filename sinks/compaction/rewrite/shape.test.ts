/** Files of one day can differ in their columns, because the source table and the writer change. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { queryParquet } from '../../../core/archive/fixtures/read.ts';
import { tables } from '../../../core/archive/rows/tables.ts';
import type { FileColumn, FileValue } from '../../../core/archive/writing/source-columns.ts';
import { changeLog, ParquetFile } from '../../../core/archive/writing/writer.ts';
import { type ColumnValue, RowHash } from '../../../core/values/rowhash/rowhash.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { bytesOf, rewrite } from './rewrite.ts';
import { shapesOf } from './shape.ts';

const topic = 'cdc.public.trades';
const { columns: data } = tables[topic];
const group = { topic, day: '2013-11-25', partition: 0, schemaId: 7, writerVersion: changeLog.version } as const;
let dir = '';

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-shape-'));
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

/** A file with one row per offset: extreme or null data columns, then the added ones. */
async function input(name: string, added: readonly (FileColumn & { value: FileValue })[], offsets: readonly bigint[]) {
  const columns: FileColumn[] = [...data, ...added, { name: '_offset', type: { kind: 'long' } }];
  const file = new ParquetFile(columns, changeLog);
  const hash = new RowHash();
  for (const offset of offsets) {
    const even = offset % 2n === 0n;
    const extremes: Readonly<Record<string, FileValue>> = {
      text: even ? '\u{1f600}\u0000"' : '',
      decimal: even ? -(10n ** 20n - 1n) : 1n,
      timestamp: even ? -62_135_596_800_000_000n : 253_402_300_799_999_999n,
      long: even ? 2n ** 63n - 1n : -(2n ** 63n),
      int: even ? -(2 ** 31) : 2 ** 31 - 1,
    };
    const values = data.map(({ type }, i) => (i === Number(offset % 9n) ? null : (extremes[type.kind] ?? null)));
    file.add([...values, ...added.map(({ value }) => (even ? value : null)), offset]);
    hash.add(data, values as ColumnValue[]);
  }
  const metadata = { 'millrace.avro_schema': '{}', 'millrace.schema_ids': name === 'a' ? '5,7' : '6,7', own: name };
  const bytes = file.finish(metadata);
  const path = join(dir, `${name}.parquet`);
  await writeFile(path, bytes);
  const range = { first_offset: offsets[0] ?? 0n, last_offset: offsets.at(-1) ?? 0n };
  const cut = { from_offset: range.first_offset, to_offset: range.last_offset + 1n };
  const counts = { rows: BigInt(offsets.length), bytes: BigInt(bytes.length), row_hash: hash.toString() };
  const at = { key: name, epoch: 'e', topic, partition: 0, day: group.day, dead_letters: 0n, sha256: '' };
  const object: ArchiveObject = { ...at, ...range, ...cut, ...counts, schema_id: 7, writer_version: 3 };
  return { object, path };
}

test('files with other columns are not put together, and every value stays what it was', async () => {
  const fee = { name: 'fee', type: { kind: 'double' }, value: 0.1 } as const;
  const flag = { name: 'flag', type: { kind: 'boolean' }, value: true } as const;
  const wide = {
    name: 'wide',
    type: { kind: 'decimal', precision: 38, scale: 16 },
    value: -(10n ** 38n - 1n),
  } as const;
  // Names that a query over files uses itself.
  const named = ['filename', 'path', 'hash'].map((name) => ({ name, type: { kind: 'text' }, value: name }) as const);
  const inputs = [
    await input('a', [fee, flag], [0n, 1n, 2n]),
    await input('b', [wide, ...named], [3n, 4n]),
    await input('c', [fee, flag], [5n, 6n]),
  ];
  const options = { group, plan: 3n, targetBytes: 1n << 30n, dir, signal: new AbortController().signal };
  const files = await rewrite({ ...options, inputs });
  expect(files.map(({ rows, firstOffset, lastOffset }) => [rows, firstOffset, lastOffset])).toEqual([
    [5, 0n, 6n],
    [2, 3n, 4n],
  ]);
  const ordered = 'SELECT * FROM FILE ORDER BY _offset';
  for (const [i, names] of [
    [0, ['a', 'c']],
    [1, ['b']],
  ] as const) {
    const bytes = await bytesOf(files[i] as (typeof files)[number]);
    const before = [];
    for (const name of names) {
      const { path } = inputs.find(({ object }) => object.key === name) as (typeof inputs)[number];
      before.push(...(await queryParquet(await readFile(path), ordered)));
    }
    expect(await queryParquet(bytes, ordered)).toEqual(before);
    const footer = await queryParquet(
      bytes,
      'SELECT decode(key) AS k, decode(value) AS v FROM parquet_kv_metadata(FILE)',
    );
    const entries = Object.fromEntries(footer.map(({ k, v }) => [k, v]));
    // Common metadata stays, schema ids are united, and metadata of a single file is dropped.
    expect(entries['millrace.avro_schema']).toBe('{}');
    expect(entries['millrace.schema_ids']).toBe(i === 0 ? '5,6,7' : '6,7');
    expect(entries['own']).toBe(i === 0 ? undefined : 'b');
    expect(entries['millrace.cuts']).toBe(i === 0 ? '0-3,5-7' : '3-5');
  }
});

test('a column of a type that the archive does not write is left alone', () => {
  expect(() => shapesOf([{ file: 0, name: 'x', type: 'HUGEINT' }], data)).toThrow(
    expect.objectContaining({ code: 'COMPACTION_FAILED' }),
  );
});

test('a file that was changed on disk before its upload is not stored', async () => {
  const inputs = [await input('d', [], [7n]), await input('e', [], [8n])];
  const options = { group, plan: 4n, targetBytes: 1n << 30n, dir, signal: new AbortController().signal };
  const [file] = await rewrite({ ...options, inputs });
  await writeFile(file?.path ?? '', 'x');
  await expect(bytesOf(file as NonNullable<typeof file>)).rejects.toMatchObject({ code: 'COMPACTION_FAILED' });
});
