/** Exact values as the text that Postgres reads. */

import { MillraceError } from '../base/errors.ts';
import { formatDecimal, pow10 } from '../values/decimal.ts';
import { formatTimestamp } from '../values/time.ts';

/** Years 1 to 9999. Postgres has no year 0, and a day's name has room for four digits. */
const firstTime = -62_135_596_800_000_000n;
const endOfTime = 253_402_300_800_000_000n;

/** @throws MillraceError BAD_RECORD */
export function timestampText(name: string, micros: bigint): string {
  if (micros < firstTime || micros >= endOfTime)
    throw new MillraceError('BAD_RECORD', `${name}: no day has the time ${micros}`);
  return formatTimestamp(micros);
}

/** @throws MillraceError BAD_RECORD */
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
