import { describe, expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { isSuccessKey, manifestKey, normalPrefix, type ObjectName, objectKey, successKey } from './keys.ts';

const name: ObjectName = {
  prefix: 'archive/',
  epoch: 'MkU3OEVBNTcwNTJENDM2Qg',
  topic: 'cdc.public.trades',
  partition: 3,
  day: '2013-11-25',
  firstOffset: 42n,
};

describe('an object key', () => {
  test('has the epoch, the topic, the day as Hive partitions, and the first offset in sortable form', () => {
    expect(objectKey(name)).toBe(
      'archive/MkU3OEVBNTcwNTJENDM2Qg/cdc.public.trades/year=2013/month=11/day=25/cdc.public.trades+3+00000000000000000042.parquet',
    );
  });

  test('sorts by offset within a day', () => {
    const keys = [9n, 10n, 2n ** 63n - 1n].map((firstOffset) => objectKey({ ...name, firstOffset }));
    expect([...keys].sort()).toEqual(keys);
  });

  test.each(['', '.', '..', '...'])('refuses %j as a topic or an epoch', (value) => {
    expect(() => objectKey({ ...name, topic: value })).toThrow('not a part of an object key');
    expect(() => objectKey({ ...name, epoch: value })).toThrow('not a part of an object key');
  });

  test('refuses what is too long', () => {
    expect(() => objectKey({ ...name, topic: 'x'.repeat(201) })).toThrow('not a part of an object key');
    expect(() => objectKey({ ...name, topic: 'é'.repeat(60) })).toThrow('not a part of an object key');
  });

  test('keeps every value in its own place of the tree, whatever is in it', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('/', '\\', '.', '+', '%', '\n', '\0', 'a', 'é', ' '), maxLength: 12 }),
        (topic) => {
          let key: string;
          try {
            key = objectKey({ ...name, topic });
          } catch {
            return;
          }
          expect(key.split('/')).toHaveLength(7);
          expect(key).toMatch(/^[\x21-\x7e]+$/);
          expect(key).not.toContain('\\');
          expect(key.split('/')).not.toContain('..');
          expect(decodeURIComponent(key.split('/')[2] ?? '')).toBe(topic);
        },
      ),
    );
  });
});

describe('a prefix', () => {
  test.each([
    ['', ''],
    ['/', ''],
    ['a', 'a/'],
    ['/a//b/', 'a/b/'],
  ])('%j becomes %j', (given, expected) => {
    expect(normalPrefix(given)).toBe(expected);
  });

  test('cannot climb out', () => {
    expect(() => normalPrefix('a/../b')).toThrow('not a part of an object key');
  });
});

describe('what lies beside the objects', () => {
  const name = { prefix: 'a/', epoch: 'cluster-1', topic: 'cdc.public.trades', day: '2013-11-25' };

  test('is a manifest for each number, in the order of a listing', () => {
    expect(manifestKey(name, 1)).toBe('a/cluster-1/_manifest/cdc.public.trades/2013-11-25/00000001.json');
    expect([manifestKey(name, 10), manifestKey(name, 9)].sort()[0]).toBe(manifestKey(name, 9));
  });

  test('is a mark of success in the day, under a name of its own for each later revision', () => {
    const folder = 'a/cluster-1/cdc.public.trades/year=2013/month=11/day=25';
    expect(successKey(name, 1)).toBe(`${folder}/_SUCCESS.json`);
    expect(successKey(name, 2)).toBe(`${folder}/_SUCCESS.2.json`);
    for (const revision of [1, 2, 10]) expect(isSuccessKey(successKey(name, revision))).toBe(true);
    for (const key of [`${folder}/stray.parquet`, `${folder}/x_SUCCESS.json`, 'a/_SUCCESS.json']) {
      expect(isSuccessKey(key)).toBe(false);
    }
  });
});
