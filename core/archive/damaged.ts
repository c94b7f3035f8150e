import { MillraceError } from '../base/errors.ts';

/** What is in the bucket is not what the records say. */
export function damaged(message: string): MillraceError {
  return new MillraceError('ARCHIVE_DAMAGED', message, {
    remedy: 'millrace verify names everything that differs; keep the bucket as it is until then',
  });
}
