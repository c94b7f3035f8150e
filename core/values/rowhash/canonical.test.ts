import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { formatDecimal } from '../decimal.ts';
import { MD5_PADDING, md5Half } from './md5.ts';
import { RowText } from './row-text.ts';

/** First 8 bytes, as OpenSSL has them. */
function expected(text: string | Uint8Array): { high: number; low: number } {
  const digest = createHash('md5').update(text).digest();
  return { high: digest.readUInt32BE(0), low: digest.readUInt32BE(4) };
}

function hashOf(write: (text: RowText) => void, text = new RowText()): { high: number; low: number } {
  const digest = { high: 0, low: 0 };
  text.clear();
  write(text);
  text.hash(digest);
  return digest;
}

describe('our MD5', () => {
  test('has the digest of OpenSSL for messages of each length around its blocks', () => {
    const view = new DataView(new ArrayBuffer(1_000 + MD5_PADDING), 3);
    const digest = { high: 0, low: 0 };
    for (let length = 0; length < 900; length++) {
      const message = Uint8Array.from({ length }, (_, i) => (i * 31 + length * 7) & 0xff);
      message.forEach((byte, i) => {
        view.setUint8(i, byte);
      });
      md5Half(view, length, digest);
      expect(digest).toEqual(expected(message));
    }
  });
});

describe('the text of a row, as bytes', () => {
  const integer = fc.oneof(fc.bigInt({ min: -100n, max: 100n }), fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }));

  test('has integers as their decimal digits', () => {
    fc.assert(
      fc.property(integer, (value) => {
        expect(hashOf((text) => text.integer(value))).toEqual(expected(String(value)));
      }),
    );
    for (let power = 0; power < 20; power++) {
      for (const value of [10n ** BigInt(power) - 1n, 10n ** BigInt(power), -(10n ** BigInt(power))]) {
        expect(hashOf((text) => text.integer(value))).toEqual(expected(String(value)));
      }
    }
    expect(hashOf((text) => text.integer(-0))).toEqual(expected('0'));
  });

  test('has decimals with exactly the digits of their scale', () => {
    fc.assert(
      fc.property(fc.oneof(integer, fc.bigInt()), fc.nat(38), (units, scale) => {
        expect(hashOf((text) => text.decimal(units, scale))).toEqual(expected(formatDecimal(units, scale)));
      }),
    );
  });

  test('has text of any length and script as UTF-8, one after the other', () => {
    const used = new RowText();
    const any = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ maxLength: 5_000, unit: 'grapheme' }));
    fc.assert(
      fc.property(fc.array(any, { maxLength: 5 }), (texts) => {
        const digest = hashOf((to) => {
          for (const text of texts) to.text(text);
        }, used);
        expect(digest).toEqual(expected(Buffer.concat(texts.map((text) => Buffer.from(text)))));
      }),
    );
  });
});
