/**
 * A first snapshot that was interrupted. Debezium would begin it again, and what it writes then cannot be told from what it wrote before. So
 * Postgres refuses it (infra/sql): the task fails, nothing was written twice, and what is missing is filled by comparison (recapture.ts).
 */
import { isError } from '../../core/base/errors.ts';
import type { ConnectClient } from '../client.ts';
import type { Recaptured } from './recapture.ts';

/** Of Postgres' refusal, as it is in the trace of the failed task. */
export const refusal = 'a snapshot that does not begin with its replication slot is refused';

export interface FirstSnapshotOptions {
  readonly connector: string;
  readonly client: Pick<ConnectClient, 'status' | 'position' | 'resume'>;
  /** Writes what the log lacks, and leaves the connector at rest. @throws MillraceError POSITION_LOST: no trade was captured yet */
  readonly fill: (signal?: AbortSignal) => Promise<Recaptured>;
  /** Forgets position and slot of a connector at rest that has captured no trade. @throws when it has */
  readonly reset: (signal?: AbortSignal) => Promise<void>;
  readonly listener?: FirstSnapshotListener;
}

export interface FirstSnapshotListener {
  /** Found, and about to be filled. */
  interrupted?(): void;
  filled?(done: Recaptured): void;
  /** Nothing that counts was in the log: the snapshot begins anew, with a slot of its own. */
  begunAnew?(): void;
}

export class FirstSnapshot {
  readonly #options: FirstSnapshotOptions;
  /** Found at rest within its snapshot. */
  #left = false;
  /** Being filled from here; what failed is tried again, whatever its position is meanwhile. */
  #begun = false;

  constructor(options: FirstSnapshotOptions) {
    this.#options = options;
  }

  /**
   * One look, and filling if it was refused. A crash in the middle of that leaves the connector at rest within its snapshot, where the next one
   * who looks finds it; but twice, as somebody may just be filling it.
   *
   * @throws whatever keeps it from looking or filling: the next look tries again.
   */
  async look(signal?: AbortSignal): Promise<void> {
    const { client, connector, fill, reset, listener } = this.#options;
    const before = this.#left;
    const found = await this.#find(signal);
    this.#left = found === 'left';
    this.#begun = found === 'refused' || (found === 'left' && before);
    if (!this.#begun) return;
    listener?.interrupted?.();
    try {
      const done = await fill(signal);
      listener?.filled?.(done);
    } catch (error) {
      if (!isError(error, 'POSITION_LOST')) throw error;
      await reset(signal);
      listener?.begunAnew?.();
    }
    await client.resume(connector, signal);
    this.#left = false;
    this.#begun = false;
  }

  async #find(signal: AbortSignal | undefined): Promise<'refused' | 'left' | undefined> {
    const { client, connector } = this.#options;
    const status = await client.status(connector, signal);
    if (status === undefined) return undefined;
    const stopped = status.state === 'STOPPED';
    const refused = status.tasks.some(({ state, trace }) => state === 'FAILED' && trace?.includes(refusal));
    if (!refused && !stopped) return undefined;
    if (stopped && this.#begun) return 'refused';
    const position = await client.position(connector, signal);
    if (position?.unfinished === false) return undefined;
    if (refused) return 'refused';
    // Kafka Connect has no position before the first row is committed: then it may be anything.
    return position === undefined ? undefined : 'left';
  }
}
