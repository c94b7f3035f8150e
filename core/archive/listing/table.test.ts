import { expect, test } from '@jest/globals';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { compactedKey, objectKey } from '../keys.ts';
import { KeyMap } from './key-map.ts';
import { nameOf } from './names.ts';
import { inOrder } from './objects.ts';
import { ObjectTable } from './table.ts';

const place = { prefix: 'archive/', epoch: 'cluster-1', topic: 'cdc.public.trades', day: '2013-11-25' };

function object(firstOffset: bigint, over: Partial<ArchiveObject> = {}): ArchiveObject {
  const { epoch, topic, day } = place;
  return {
    ...{ key: objectKey({ ...place, partition: 3, firstOffset }), epoch, topic, day, partition: 3 },
    ...{
      from_offset: firstOffset,
      to_offset: firstOffset + 9n,
      first_offset: firstOffset,
      last_offset: firstOffset + 8n,
    },
    ...{ rows: 9n, row_hash: 'fedcba9876543210', sha256: '0f'.repeat(32), bytes: 1n << 40n, dead_letters: 2n },
    ...{ schema_id: 7, writer_version: 2 },
    ...over,
  };
}

const compacted = compactedKey({ ...place, partition: 3, firstOffset: 5n }, 12n, 1);

test('gives back what was put in: also keys of compactions, and keys, offsets and hashes of another form', () => {
  const objects = [
    object(5n),
    object(5n, { key: compacted }),
    object(5n, { key: 'k' }),
    object(6n, { key: object(5n).key }),
    object(7n, { sha256: '0'.repeat(64), row_hash: 'other' }),
    object(8n, { sha256: '0F'.repeat(32) }),
    object(2n ** 63n - 100n, { day: '2013-11-26' }),
  ];
  const table = new ObjectTable();
  for (const each of objects) table.add(each);
  expect([...table]).toEqual(objects);
  expect(table.length).toBe(objects.length);
  expect([table.at(-1), table.at(objects.length)]).toEqual([undefined, undefined]);
  expect(table.filter(({ first_offset }) => first_offset === 8n)).toEqual([objects[5]]);
  expect([...table.where(({ first_offset }) => first_offset === 5n)]).toEqual(objects.slice(0, 3));
});

test('holds more objects than a chunk, in their order', () => {
  const table = new ObjectTable();
  for (let i = 0n; i < 10_000n; i++) table.add(object(i * 10n));
  expect(table.length).toBe(10_000);
  expect(table.at(4_095)).toEqual(object(40_950n));
  expect(table.at(4_096)).toEqual(object(40_960n));
});

test('merges later objects into the order of those before them', () => {
  const table = new ObjectTable();
  for (const at of [0n, 20n, 40n]) table.add(object(at));
  const later = [object(50n), object(10n), object(20n, { day: '2013-11-26' })];
  for (const each of later) table.add(each);
  table.merge(3, inOrder);
  expect(table.map(({ from_offset, day }) => `${from_offset} ${day.slice(-2)}`)).toEqual([
    '0 25',
    '10 25',
    '20 25',
    '20 26',
    '40 25',
    '50 25',
  ]);
});

test('a map by keys has what was set for them, whatever their form', () => {
  const map = new KeyMap<string>();
  const keys = [object(5n).key, object(6n).key, compacted, 'k', `${object(5n).key}x`];
  expect(map.has(keys[0] as string)).toBe(false);
  map.set(keys, 'first');
  map.set(keys.slice(1, 3), 'second');
  expect(map.size).toBe(5);
  expect(keys.map((key) => map.get(key))).toEqual(['first', 'second', 'second', 'first', 'first']);
  expect([...map.keys()].sort()).toEqual([...keys].sort());
  expect(map.has(object(7n).key)).toBe(false);
});

test('a key is its shared text and a number, or neither', () => {
  expect(nameOf(object(5n).key)).toMatchObject({ offset: 5, tail: '.parquet' });
  expect(nameOf(compacted)).toMatchObject({ offset: 5, tail: '+r12+1.parquet' });
  for (const key of ['', 'k', '.parquet', `a+${'1'.repeat(20)}.parquet`, 'a+0000000000000000000x.parquet']) {
    expect(nameOf(key)).toBeUndefined();
  }
});
