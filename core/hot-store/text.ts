/** Exact values as input text for Postgres. */

import { MillraceError } from '../base/errors.ts';
import { formatDecimal, pow10 } from '../values/decimal.ts';
import { formatTimestamp } from '../values/time.ts';

/** Years 1 to 9999, in microseconds since 1970. Postgres has no year 0, and a day's name has a four-digit year. */
const firstTime = -62_135_596_800_000_000n;
const endOfTime = 253_402_300_800_000_000n;

/**
 * Microseconds since 1970 as ISO 8601 text.
 *
 * @param name of the column, for the message
 * @throws MillraceError BAD_RECORD: the time is outside the years 1 to 9999
 */
export function timestampText(name: string, micros: bigint): string {
  if (micros < firstTime || micros >= endOfTime)
    throw new MillraceError('BAD_RECORD', `${name}: no day has the time ${micros}`);
  return formatTimestamp(micros);
}

/**
 * Decimal text of `units`, an integer in steps of 10^-scale.
 *
 * @param name of the column, for the message
 * @throws MillraceError BAD_RECORD: the value has more than `precision` digits
 */
export function decimalText(
  name: string,
  units: bigint,
  { precision, scale }: { readonly precision: number; readonly scale: number },
): string {
  const limit = pow10(precision);
  if (units >= limit || units <= -limit)
    throw new MillraceError('BAD_RECORD', `${name} has more than ${precision} digits`);
  return formatDecimal(units, scale);
}
