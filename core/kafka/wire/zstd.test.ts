import { zstdCompressSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { ZstdReader } from './zstd.ts';

const limit = 1024 * 1024;

test('frames come out as they went in, whatever their number and size', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 200_000 }), fc.integer({ min: 1, max: 256 })), { maxLength: 12 }),
      (shapes) => {
        const frames = shapes.map(([length, period]) => Buffer.from(Uint8Array.from({ length }, (_, i) => i % period)));
        const reader = new ZstdReader(100, limit);
        const read = frames.map((frame) => reader.read(zstdCompressSync(frame)));
        // Compared at the end: a later frame must not have overwritten an earlier one.
        for (const [i, frame] of frames.entries()) expect(read[i]?.equals(frame)).toBe(true);
      },
    ),
    { numRuns: 30 },
  );
});

test('a frame that is cut off or invalid is refused, and the next one is read as if it had not been there', () => {
  const frame = zstdCompressSync(Buffer.from(Array.from({ length: 5_000 }, (_, i) => i ** 3).join()));
  const reader = new ZstdReader(frame.length, limit);
  expect(() => reader.read(frame.subarray(0, frame.length - 20))).toThrow();
  expect(reader.read(zstdCompressSync(Buffer.from('next'))).toString()).toBe('next');
  expect(() => reader.read(Buffer.from('no frame at all'))).toThrow();
  expect(reader.read(zstdCompressSync(Buffer.from('next'))).toString()).toBe('next');
});

test('a frame that expands beyond the limit is refused before it takes the memory', () => {
  const bomb = zstdCompressSync(Buffer.alloc(64 * 1024 * 1024));
  const before = process.memoryUsage().arrayBuffers;
  expect(() => new ZstdReader(bomb.length, limit).read(bomb)).toThrow('more than');
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * limit);
});
