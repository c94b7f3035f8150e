import { describe, expect, test } from '@jest/globals';
import { objectKey } from '../../../core/archive/keys.ts';
import { placeOf } from './groups.ts';
import { parseObjectName } from './name.ts';

const name = { epoch: 'a/b c', topic: 'cdc.public.trades', partition: 3, day: '2013-11-25', firstOffset: 42n } as const;
const key = objectKey({ prefix: 'cold/', ...name });

describe('the name of an object', () => {
  test.each([
    ['a key', key],
    ['a key that begins with a slash', `/${key}`],
    ['what archive files prints', `s3://millrace/${key}`],
    ['the same for Spark', `s3a://millrace/${key}`],
    ['a URL with the bucket in its path', `http://127.0.0.1:9000/millrace/${encodeURI(key)}`],
    [
      'a URL with the bucket in its host, signed',
      `https://millrace.s3.amazonaws.com/${encodeURI(key)}?X-Amz-Expires=60`,
    ],
  ])('is read from %s', (_what, text) => {
    expect(parseObjectName(text, 'millrace')).toEqual({ key, ...name });
  });

  test.each([
    '',
    'x.parquet',
    key.replace('cdc.public.trades/', 'cdc.public.other/'),
    key.replace('day=25', 'day=5'),
    `${key}.bak`,
  ])('is refused: %j', (text) => {
    expect(() => parseObjectName(text, 'millrace')).toThrow('names no object of the archive');
  });

  test('in another bucket is refused', () => {
    expect(() => parseObjectName(`s3://elsewhere/${key}`, 'millrace')).toThrow('the archive is in millrace');
    expect(() => parseObjectName(`http://127.0.0.1:9000/elsewhere/${key}`, 'millrace')).toThrow(
      'the archive is in millrace',
    );
  });
});

describe('a row of a file', () => {
  const groups = [50_000n, 50_000n, 7n].map((rows, index) => ({
    index,
    rows,
    bytes: 0n,
    firstOffset: null,
    lastOffset: null,
    firstLsn: null,
    lastLsn: null,
  }));

  test.each([
    [0n, 0, 0n],
    [49_999n, 0, 49_999n],
    [50_000n, 1, 0n],
    [100_006n, 2, 6n],
  ])('number %d is in row group %d, as its number %d', (row, rowGroup, rowInGroup) => {
    expect(placeOf(groups, row)).toEqual({ row, rowGroup, rowInGroup, rowGroups: 3 });
  });

  test('beyond the rows of the footer is an error', () => {
    expect(() => placeOf(groups, 100_007n)).toThrow(RangeError);
  });
});
