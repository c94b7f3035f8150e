import { MillraceError } from '../core/errors.ts';

/** @throws MillraceError CONFIG_INVALID */
export function partitionNumber(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new MillraceError('CONFIG_INVALID', `--partition ${text} is no partition`, { remedy: 'give a number from 0' });
}
