import { setTimeout as sleep } from 'node:timers/promises';
import { isError, MillraceError } from '../../core/base/errors.ts';
import type { ConnectClient } from '../client.ts';
import type { Definition } from '../definition/definition.ts';

export interface RestOptions {
  readonly client: ConnectClient;
  readonly definition: Definition;
  readonly signal?: AbortSignal | undefined;
}

const stopMs = 60_000;

/**
 * Returns when no task can write any more. A missing connector is created in the state STOPPED. The configuration decides whether it
 * exists: Kafka Connect still has a status for a moment after a delete.
 */
export async function bringToRest({ client, definition: { name, config }, signal }: RestOptions): Promise<void> {
  if ((await client.config(name, signal)) === undefined) await client.createStopped(name, config, signal);
  const giveUpAt = performance.now() + stopMs;
  for (;;) {
    // Repeated each time: an earlier resume request may take effect only now, and Connect reports the state late.
    await client.stop(name, signal);
    try {
      return await client.fence(name, signal);
    } catch (error) {
      if (!isError(error, 'CONNECTOR_INVALID')) throw error;
      if (performance.now() > giveUpAt) {
        throw new MillraceError('CONNECTOR_FAILED', `connector ${name} does not come to rest`, {
          cause: error,
          remedy: 'Look at `millrace logs connect`, restart Kafka Connect, then run the command again.',
        });
      }
    }
    await sleep(500, undefined, signal === undefined ? {} : { signal });
  }
}
