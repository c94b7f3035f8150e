import { InvalidArgumentError } from 'commander';
import { MillraceError } from '../../core/base/errors.ts';
import { parseTimeOrDay } from '../../core/values/time.ts';

/** Microseconds of a time, or of the start of a UTC day. @throws MillraceError CONFIG_INVALID */
export function timeOf(option: string, text: string): bigint {
  try {
    return parseTimeOrDay(text);
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `${option} ${text} is not a time`, {
      cause,
      remedy: 'Write it as 2013-11-25 or 2013-11-25T12:00:00Z.',
    });
  }
}

/** @throws MillraceError CONFIG_INVALID */
export function wholeNumber(option: string, text: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= least && number <= most) return number;
  const to = most === Number.MAX_SAFE_INTEGER ? '' : ` to ${most}`;
  throw new MillraceError('CONFIG_INVALID', `${option} ${text} is not a whole number from ${least}${to}`);
}

/** Parses a wait in seconds, at least 1, for `Command.option`. */
export function waitSeconds(text: string): number {
  if (/^\d{1,7}$/.test(text) && Number(text) > 0) return Number(text);
  throw new InvalidArgumentError('give a whole number of seconds.');
}

/** The error that ends a command after its plan, without --yes. */
export function notConfirmed(state = 'nothing was changed yet', warning = ''): MillraceError {
  return new MillraceError('CONFIRMATION_NEEDED', state, {
    remedy: `read the plan, then run the command again with --yes${warning}`,
  });
}

/** 0 means a free port. @throws MillraceError CONFIG_INVALID */
export function portNumber(text: string): number {
  return wholeNumber('--port', text, 0, 65_535);
}

/** @throws MillraceError CONFIG_INVALID */
export function partitionNumber(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new MillraceError('CONFIG_INVALID', `--partition ${text} is not a partition`, {
    remedy: 'give a number from 0',
  });
}

/** @throws MillraceError CONFIG_INVALID */
export function parseRoute(text: string): readonly [string, ...string[]] {
  const [first = '', ...others] = text.split(',').map((each) => each.trim());
  if ([first, ...others].every((field) => /^\w+$/.test(field))) return [first, ...others];
  throw new MillraceError('CONFIG_INVALID', `--route ${text} names no fields`, {
    remedy: 'give fields of the key: venue,symbol',
  });
}
