import { describeOrigin, type ErrorOrigin, located, MillraceError } from '../../base/errors.ts';

type During = 'record' | 'advance' | 'onTimer';

/**
 * The error that is thrown in place of one that a fold threw: FOLD_FAILED for an unforeseen one, and with its origin if it stops the process. A
 * refusal (dead letter) and what a retry can cure stay as they are.
 */
export function foldFailure(error: unknown, origin: ErrorOrigin, during: During): MillraceError {
  // The record that brought the time of a timer is not to blame: it cannot be refused for it.
  const blames = error instanceof MillraceError && error.disposition === 'deadLetter' && during === 'onTimer';
  if (error instanceof MillraceError && !blames) return error.disposition === 'stop' ? located(error, origin) : error;
  const remedy = 'correct the fold and deploy it: nothing of this was committed';
  return new MillraceError('FOLD_FAILED', `the fold threw at ${during}: ${error} [${describeOrigin(origin)}]`, {
    cause: error,
    origin,
    remedy:
      during === 'record'
        ? `${remedy}. With onError: 'deadLetter' in its declaration such a record is put aside`
        : remedy,
  });
}

/** Whether the failure of a fold can be put aside with its record: a refusal, or an error that says nothing about other records. */
export function isAboutRecord({ code, disposition }: MillraceError): boolean {
  return disposition === 'deadLetter' || code === 'FOLD_FAILED' || code === 'ENCODE_FAILED';
}
