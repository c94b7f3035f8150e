/**
 * Tells when a replication slot cannot give what has not been captured, and then keeps capture from going on: whatever would come after
 * that would hide a gap. Going on is a person's decision (recapture/).
 */
import { formatLsn } from '../core/lsn.ts';
import type { CapturePosition, ConnectClient } from './client.ts';
import type { Slot } from './slot.ts';

export interface SlotLoss {
  /** `missing`: dropped. `invalidated`: Postgres gave it up. `recreated`: it is another one, which begins later. */
  readonly kind: 'missing' | 'invalidated' | 'recreated';
  /** One sentence. */
  readonly reason: string;
}

/**
 * What is lost, if anything. A connector without a position has captured nothing that could have a gap.
 *
 * @param slot read before the position: a consumer confirms only what its position says.
 * @param known a loss that was found before. Then a slot that is just being made, or that somebody reads, proves nothing.
 */
export function lossOf(
  name: string,
  slot: Slot | undefined,
  position: CapturePosition | undefined,
  known?: SlotLoss,
): SlotLoss | undefined {
  if (position === undefined) return undefined;
  if (slot === undefined) return { kind: 'missing', reason: `replication slot ${name} is gone` };
  if (slot.walStatus === 'lost' || slot.invalidation !== null) {
    return {
      kind: 'invalidated',
      reason: `Postgres has given up replication slot ${name} (${slot.invalidation ?? slot.walStatus})`,
    };
  }
  // Whoever reads it was let in by Debezium's own comparison of the two.
  if (known === undefined && slot.active) return undefined;
  if (slot.confirmedLsn === null) return known;
  if (slot.confirmedLsn <= position.lsn) return undefined;
  return {
    kind: 'recreated',
    reason: `replication slot ${name} begins at ${formatLsn(slot.confirmedLsn)}, and what was captured ends at ${formatLsn(position.lsn)}`,
  };
}

export interface SlotGuardOptions {
  readonly slot: string;
  readonly connector: string;
  readonly client: Pick<ConnectClient, 'position' | 'status' | 'stop' | 'resume'>;
  /** The slot as it is now. */
  readonly read: (signal?: AbortSignal) => Promise<Slot | undefined>;
  readonly listener?: SlotGuardListener;
}

export interface SlotGuardListener {
  /** After every look; undefined when there is no such slot. */
  measured?(slot: Slot | undefined): void;
  /** After every look that finds a loss; `first` when the one before did not. */
  lost?(loss: SlotLoss, first: boolean): void;
  /** After a look that finds none any more. */
  kept?(): void;
}

export class SlotGuard {
  readonly #options: SlotGuardOptions;
  #loss: SlotLoss | undefined;
  #stopped = false;

  constructor(options: SlotGuardOptions) {
    this.#options = options;
  }

  /** What the last look found. */
  get loss(): SlotLoss | undefined {
    return this.#loss;
  }

  /**
   * One look. A loss that is found twice stops the connector: the first time somebody may just be repairing it. What was stopped here goes on
   * when the slot and the position fit again.
   *
   * @throws whatever keeps it from looking; the answer before stands.
   */
  async look(signal?: AbortSignal): Promise<void> {
    const { slot: name, connector, client, read, listener } = this.#options;
    const slot = await read(signal);
    listener?.measured?.(slot);
    const before = this.#loss;
    const sound = slot?.active === true && slot.walStatus !== 'lost' && slot.invalidation === null;
    const loss =
      sound && before === undefined ? undefined : lossOf(name, slot, await client.position(connector, signal), before);
    this.#loss = loss;
    if (loss === undefined) {
      if (before !== undefined) listener?.kept?.();
      if (this.#stopped) await client.resume(connector, signal);
      this.#stopped = false;
      return;
    }
    listener?.lost?.(loss, before === undefined);
    if (before === undefined || this.#stopped) return;
    const status = await client.status(connector, signal);
    if (status !== undefined && status.state !== 'STOPPED') {
      await client.stop(connector, signal);
      this.#stopped = true;
    }
  }
}
