/** `numeric` as Debezium writes it: units at the column's scale, or a record that gives each value its own scale. */
import { twosComplement, unitsOf } from '../../../core/avro/types.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { formatDecimal, pow10 } from '../../../core/values/decimal.ts';
import type { AvroShape, Pair } from './kind.ts';

export function decimalPair({ base, logicalType, precision = 0, scale = 0 }: AvroShape): Pair | undefined {
  if (base === 'record') return variable;
  if (base !== 'bytes' || logicalType !== 'decimal') return undefined;
  // Postgres allows a scale above the precision, and a negative one. Avro does not, so the bytes stay as they are.
  const valid = scale <= precision;
  return {
    toAvro: (text) => (valid ? exactUnits(text, scale) : twosComplement(exactUnits(text, scale))),
    toText: (value) => formatDecimal(valid ? (value as bigint) : unitsOf(value as Buffer), scale),
  };
}

/** Debezium's `VariableScaleDecimal`, without trailing zeros. */
const variable: Pair = {
  toAvro: (text) => {
    const scale = fractionDigits(text);
    return { scale, value: twosComplement(exactUnits(text, scale)) };
  },
  toText: (value) => {
    const { scale, value: bytes } = value as { scale: number; value: Buffer };
    const units = unitsOf(bytes);
    return scale >= 0 ? formatDecimal(units, scale) : `${units * pow10(-scale)}`;
  },
};

/** Fraction digits without trailing zeros, at most 16,383. */
function fractionDigits(text: string): number {
  const point = text.indexOf('.');
  if (point === -1) return 0;
  let end = text.length;
  while (text[end - 1] === '0') end--;
  return end - point - 1;
}

/** Input is Postgres' own text: no exponent, up to 131,072 digits before the point. */
function exactUnits(text: string, scale: number): bigint {
  const [, sign, whole = '', fraction = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  const kept = fraction.slice(0, scale).padEnd(scale, '0');
  if (whole === '' || /[1-9]/.test(fraction.slice(scale))) {
    throw new MillraceError('BAD_RECORD', `${text.slice(0, 60)} is no decimal of scale ${scale}`);
  }
  const units = BigInt(whole + kept);
  return sign === '-' ? -units : units;
}
