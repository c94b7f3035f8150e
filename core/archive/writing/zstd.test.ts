import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { zstd } from './zstd.ts';

describe('zstd from one context', () => {
  test('has the bytes of the public function, one call after the other', () => {
    const noise = fc.uint8Array({ maxLength: 3_000 });
    const repeated = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 50 }), fc.nat(200)).map(([part, times]) => {
      return Buffer.concat(Array.from({ length: times }, () => part));
    });
    fc.assert(
      fc.property(fc.oneof(noise, repeated), (bytes) => {
        expect(Buffer.compare(zstd(bytes), zstdCompressSync(bytes))).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test.each([16_383, 16_384, 16_385, 65_536, 131_072, 131_073, 1_048_576])('has them also for %d bytes', (length) => {
    for (const byte of [(i: number) => (i * i * 31) % 251, (i: number) => (i * 2_654_435_761) >>> 24, () => 7]) {
      const bytes = Uint8Array.from({ length }, (_, i) => byte(i));
      expect(Buffer.compare(zstd(bytes), zstdCompressSync(bytes))).toBe(0);
      expect(Buffer.compare(zstdDecompressSync(zstd(bytes)), bytes)).toBe(0);
    }
  });

  test('keeps what it gave before', () => {
    const first = zstd(Buffer.from('first'));
    zstd(Buffer.from('second'));
    expect(zstdDecompressSync(first).toString()).toBe('first');
  });
});
