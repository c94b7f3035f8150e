import { MillraceError } from '../base/errors.ts';

/**
 * What the sink has committed and what is in the range of no object yet, because there was no row in it: transaction markers, dead
 * letters. It is metadata of the committed offset. The next cut's objects have it in their range, so that the list alone tells whether
 * anything is missing.
 */
export interface Unlisted {
  /** First offset. */
  readonly since: bigint;
  readonly deadLetters: number;
}

const format = 1;

export function formatUnlisted(unlisted: Unlisted): string {
  return JSON.stringify({ v: format, ...unlistedFields(unlisted) });
}

/** As a planned cut carries it beside its own fields. */
export function unlistedFields({ since, deadLetters }: Unlisted): { since: string; dead: number } {
  return { since: since.toString(), dead: deadLetters };
}

/** Undefined where nothing is unlisted. @throws MillraceError CUT_UNREADABLE */
export function parseUnlisted(metadata: string): Unlisted | undefined {
  if (metadata === '') return undefined;
  let parsed: { v?: unknown; since?: unknown; dead?: unknown } | null;
  try {
    parsed = JSON.parse(metadata);
  } catch (cause) {
    throw unreadable(metadata, cause);
  }
  const { v, since, dead } = parsed ?? {};
  if (since === undefined) return undefined;
  if (v !== format || !isOffset(since) || typeof dead !== 'number') throw unreadable(metadata);
  return { since: BigInt(since), deadLetters: dead };
}

export function isOffset(value: unknown): value is string {
  return typeof value === 'string' && /^\d{1,19}$/.test(value);
}

export function unreadable(metadata: string, cause?: unknown): MillraceError {
  return new MillraceError(
    'CUT_UNREADABLE',
    `this version cannot read what the sink committed: ${metadata.slice(0, 200)}`,
    {
      cause,
      remedy: 'run the version of Millrace that planned it, or a newer one; nothing is lost meanwhile',
    },
  );
}
