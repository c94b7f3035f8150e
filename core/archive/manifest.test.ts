import { expect, test } from '@jest/globals';
import type { ArchiveReplacement } from '../../schemas/gen/archive_replacement.ts';
import {
  formatManifest,
  type Manifest,
  type ManifestFile,
  parseManifest,
  totalsOf,
  withReplacements,
} from './manifest.ts';

function file(partition: number, first: bigint, over: Partial<ManifestFile> = {}): ManifestFile {
  return {
    key: `k${partition}+${first}`,
    partition,
    from_offset: first,
    to_offset: first + 10n,
    first_offset: first,
    last_offset: first + 9n,
    rows: 10n,
    row_hash: 'ffffffffffffffff',
    sha256: 'a'.repeat(64),
    bytes: 2n ** 60n,
    schema_id: 7,
    writer_version: 1,
    ...over,
  };
}

const manifest: Manifest = {
  epoch: 'cluster-1',
  topic: 'cdc.public.trades',
  day: '2013-11-25',
  number: 2,
  covers: [3n, 2n ** 62n],
  replacements: 2n ** 61n,
  lostRows: 0n,
  files: [file(0, 0n), file(0, 10n), file(1, 5n, { rows: 1n, row_hash: '0000000000000003' })],
};

test('a manifest is read as it was written, 64-bit integers and all', () => {
  expect(parseManifest(formatManifest(manifest))).toEqual(manifest);
  const empty = { ...manifest, number: 1, files: [] };
  expect(parseManifest(formatManifest(empty))).toEqual(empty);
});

test('a manifest that no replacement is in has the bytes that it always had', () => {
  const lines = formatManifest(manifest).toString().split('\n');
  const without = formatManifest({ ...manifest, replacements: 0n })
    .toString()
    .split('\n');
  expect(without).toEqual(lines.filter((line) => !line.includes('"replacements"')));
  expect(parseManifest(Buffer.from(without.join('\n'))).replacements).toBe(0n);
});

test('what is replaced is gone, what replaces it is there, in order, however often it is done', () => {
  const object = { ...file(0, 0n, { key: 'new', rows: 20n }), epoch: 'cluster-1', topic: 'cdc.public.trades', day: '' };
  const compacted: ArchiveReplacement = {
    ...{ kind: 'COMPACTED', epoch: 'cluster-1', topic: 'cdc.public.trades', day: '2013-11-25', plan: 0n, partition: 0 },
    ...{ schema_id: 7, covers: 0n, target_bytes: 1n, writer_version: 1, rows: 20n, bytes: 0n, row_hash: '' },
    replaced: ['k0+0', 'k0+10'],
    objects: [object],
  };
  const once = withReplacements(manifest.files, [compacted]);
  expect(once.map(({ key }) => key)).toEqual(['new', 'k1+5']);
  expect(withReplacements(once, [compacted])).toEqual(once);
  const expired: ArchiveReplacement = { ...compacted, kind: 'EXPIRED', replaced: ['new', 'k1+5'], objects: [] };
  expect(withReplacements(manifest.files, [compacted, expired])).toEqual([]);
});

test('the totals are sums, the row hash modulo 2^64, and the outer offsets of each partition', () => {
  expect(totalsOf(manifest.files)).toEqual({
    files: 3n,
    rows: 21n,
    bytes: 3n * 2n ** 60n,
    row_hash: '0000000000000001',
    partitions: [
      { partition: 0, first_offset: 0n, last_offset: 19n, files: 2n, rows: 20n },
      { partition: 1, first_offset: 5n, last_offset: 14n, files: 1n, rows: 1n },
    ],
  });
});

test('each file is a line of its own, so that two manifests can be compared by eye', () => {
  const lines = formatManifest(manifest).toString().split('\n');
  expect(lines.filter((line) => line.includes('"key"'))).toHaveLength(3);
});

test('another format is refused, and so is what is no manifest', () => {
  const newer = formatManifest(manifest).toString().replace('"format": 1', '"format": 2');
  for (const text of [newer, '{}', 'x', '']) {
    expect(() => parseManifest(Buffer.from(text))).toThrow(expect.objectContaining({ code: 'CUT_UNREADABLE' }));
  }
});
