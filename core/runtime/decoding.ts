import { setTimeout as delay } from 'node:timers/promises';
import type { AvroDecoder } from '../avro/decoder.ts';
import { dispositionOf } from '../errors.ts';
import type { LogRecord } from './log.ts';

const firstWaitMs = 100;
const longestWaitMs = 5_000;

/**
 * Makes sure that every writer schema of the records is known, so that decoding is synchronous. While the registry does not answer, the
 * partition waits here: an unknown schema is not a bad record.
 *
 * @param beforeWaiting Commits what is done, since the wait may be long.
 */
export async function prepareDecoder<T>(
  decoder: AvroDecoder<T>,
  records: readonly LogRecord[],
  signal: AbortSignal,
  beforeWaiting: () => Promise<void>,
): Promise<void> {
  const missing = decoder.missing(values(records));
  for (let waitMs = firstWaitMs; missing.length > 0; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
    try {
      await decoder.prepare(missing);
      return;
    } catch (error) {
      if (dispositionOf(error) !== 'retry') throw error;
      if (waitMs === firstWaitMs) await beforeWaiting();
      await delay(waitMs, undefined, { signal });
    }
  }
}

function* values(records: readonly LogRecord[]): Generator<Buffer | null> {
  for (const record of records) yield record.value;
}
