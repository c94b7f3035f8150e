import { expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { compareUtf8 } from './utf8.ts';

test('text is ordered as its UTF-8 bytes are', () => {
  const text = fc.string({ unit: 'binary', maxLength: 6 });
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
  expect(compareUtf8('\u{1f600}', '\uffee')).toBeGreaterThan(0);
});
