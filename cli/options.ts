import { MillraceError } from '../core/errors.ts';

/** @throws MillraceError CONFIG_INVALID */
export function partitionNumber(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new MillraceError('CONFIG_INVALID', `--partition ${text} is no partition`, { remedy: 'give a number from 0' });
}

/** @throws MillraceError CONFIG_INVALID */
export function parseRoute(text: string): readonly [string, ...string[]] {
  const [first = '', ...others] = text.split(',').map((each) => each.trim());
  if ([first, ...others].every((field) => /^\w+$/.test(field))) return [first, ...others];
  throw new MillraceError('CONFIG_INVALID', `--route ${text} names no fields`, {
    remedy: 'give fields of the key: venue,symbol',
  });
}
