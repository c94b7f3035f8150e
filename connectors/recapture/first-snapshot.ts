/**
 * Repairs an interrupted first snapshot. If Debezium began it again, the new records could not be told from the old ones. So Postgres
 * refuses the second snapshot (infra/sql): the task fails and writes nothing twice. A comparison fills the missing rows (recapture.ts).
 */
import { isError } from '../../core/base/errors.ts';
import type { ConnectClient } from '../client.ts';
import type { Recaptured } from './recapture.ts';

/** Text of Postgres' refusal, as the trace of the failed task has it. */
export const refusal = 'a snapshot that does not begin with its replication slot is refused';

export interface FirstSnapshotOptions {
  readonly connector: string;
  readonly client: Pick<ConnectClient, 'status' | 'position' | 'resume'>;
  /** Writes the missing rows and leaves the connector stopped. @throws MillraceError POSITION_LOST: no trade was captured yet */
  readonly fill: (signal?: AbortSignal) => Promise<Recaptured>;
  /** Deletes position and slot of a stopped connector that has captured no trade. @throws when it has captured one */
  readonly reset: (signal?: AbortSignal) => Promise<void>;
  readonly listener?: FirstSnapshotListener;
}

export interface FirstSnapshotListener {
  /** Called before missing rows are filled. */
  interrupted?(): void;
  filled?(done: Recaptured): void;
  /** Called when the log had no trades: the snapshot begins anew, with a new slot. */
  begunAnew?(): void;
}

export class FirstSnapshot {
  readonly #options: FirstSnapshotOptions;
  /** The last look found the connector stopped within its snapshot. */
  #left = false;
  /** Filling has begun. A failed attempt is repeated, whatever the position is by then. */
  #begun = false;

  constructor(options: FirstSnapshotOptions) {
    this.#options = options;
  }

  /**
   * One look; fills the missing rows if the snapshot was refused. A crash while filling leaves the connector stopped within its snapshot. A
   * stopped connector is filled only when two looks in a row find it, because another process may be filling.
   *
   * @throws any error of the look or the filling: the next look tries again.
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
    // Kafka Connect has no position before the first committed row, so the state is unknown.
    return position === undefined ? undefined : 'left';
  }
}
