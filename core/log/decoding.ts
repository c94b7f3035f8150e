import type { AvroDecoder } from '../avro/decoder.ts';
import { type Clock, wallClock } from '../base/clock.ts';
import { dispositionOf } from '../base/errors.ts';
import type { LogRecord } from './log.ts';

const firstWaitMs = 100;
const longestWaitMs = 5_000;

/**
 * Makes sure that every writer schema of the records is known, so that decoding is synchronous. The partition waits here while the registry
 * does not answer, and for up to its lag (`Schemas.lagMs`) while it does not know an id: such records are not bad yet.
 *
 * @param beforeWaiting Commits what is done, since the wait may be long.
 */
export async function prepareDecoder<T>(
  decoder: AvroDecoder<T>,
  values: Iterable<Buffer | null>,
  signal: AbortSignal,
  beforeWaiting: () => Promise<void> = async () => undefined,
  clock: Clock = wallClock,
): Promise<void> {
  let missing: readonly number[] = decoder.missing(values, clock.now());
  for (let waitMs = firstWaitMs; missing.length > 0; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
    try {
      missing = await decoder.prepare(missing, clock.now());
      if (missing.length === 0) return;
    } catch (error) {
      if (dispositionOf(error) !== 'retry') throw error;
    }
    if (waitMs === firstWaitMs) await beforeWaiting();
    await clock.sleep(waitMs, signal);
    signal.throwIfAborted();
  }
}

/** What `prepareDecoder` looks at. */
export function* valuesOf(records: readonly LogRecord[]): Generator<Buffer | null> {
  for (const record of records) yield record.value;
}

export function* keysOf(records: readonly LogRecord[]): Generator<Buffer | null> {
  for (const record of records) yield record.key;
}
