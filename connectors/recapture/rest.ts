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
 * Until no task can write any more. A connector that is not there is created, at rest. It is its configuration that tells: Kafka Connect still
 * has a status for a moment after a connector was deleted.
 */
export async function bringToRest({ client, definition: { name, config }, signal }: RestOptions): Promise<void> {
  if ((await client.config(name, signal)) === undefined) await client.createStopped(name, config, signal);
  const giveUpAt = performance.now() + stopMs;
  for (;;) {
    // Again each time: an order to go on that was given before may be carried out only now, and its state is told late.
    await client.stop(name, signal);
    try {
      return await client.fence(name, signal);
    } catch (error) {
      if (!isError(error, 'CONNECTOR_INVALID')) throw error;
      if (performance.now() > giveUpAt) {
        throw new MillraceError('CONNECTOR_FAILED', `connector ${name} does not come to rest`, {
          cause: error,
          remedy: 'Look at `millrace logs connect`, restart Kafka Connect, and say it again.',
        });
      }
    }
    await sleep(500, undefined, signal === undefined ? {} : { signal });
  }
}
