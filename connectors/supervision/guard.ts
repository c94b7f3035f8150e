/**
 * Tells when a replication slot cannot give what has not been captured, and then keeps capture from going on: whatever would come after
 * that would hide a gap. Going on is a person's decision (recapture/).
 */
import { formatLsn } from '../../core/values/lsn.ts';
import type { CapturePosition, ConnectClient } from '../client.ts';
import type { Slot } from './slot.ts';

export interface SlotLoss {
  /**
   * `missing`: dropped. `invalidated`: Postgres gave it up. `recreated`: it is another one, which begins later. `restored`: Postgres is as it
   * was before changes that were captured, so that it would write others in their place.
   */
  readonly kind: 'missing' | 'invalidated' | 'recreated' | 'restored';
  /** One sentence. */
  readonly reason: string;
  /** Where what was captured ended when the loss was found. */
  readonly captured: bigint;
}

/**
 * What is lost, if anything. A connector without a position has captured nothing that could have a gap. One within its first snapshot has no
 * changes that a slot would have to follow on: what is missing is filled by comparison, with a slot of its own (recapture/first-snapshot.ts).
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
  const captured = position.lsn;
  if (slot === undefined) {
    return position.unfinished ? undefined : { kind: 'missing', reason: `replication slot ${name} is gone`, captured };
  }
  if (slot.walStatus === 'lost' || slot.invalidation !== null) {
    return {
      kind: 'invalidated',
      reason: `Postgres has given up replication slot ${name} (${slot.invalidation ?? slot.walStatus})`,
      captured,
    };
  }
  if (slot.walLsn < position.lsn) {
    return {
      kind: 'restored',
      reason: `Postgres ends at ${formatLsn(slot.walLsn)}, and what was captured at ${formatLsn(position.lsn)}: it was restored to an earlier point`,
      captured,
    };
  }
  // Postgres goes on, and past the place by and by; only a recapture moves the position.
  if (known?.kind === 'restored' && known.captured === captured) return known;
  // Whoever reads it was let in by Debezium's own comparison of the two.
  if (known === undefined && slot.active) return undefined;
  if (slot.confirmedLsn === null) return known;
  if (slot.confirmedLsn <= position.lsn || position.unfinished) return undefined;
  return {
    kind: 'recreated',
    reason: `replication slot ${name} begins at ${formatLsn(slot.confirmedLsn)}, and what was captured ends at ${formatLsn(position.lsn)}`,
    captured,
  };
}

export interface SlotState {
  /** Undefined when there is no such slot. */
  readonly slot: Slot | undefined;
  /** Undefined when the connector has captured nothing. */
  readonly position: CapturePosition | undefined;
  readonly loss: SlotLoss | undefined;
}

/** The slot first, then the position: see `lossOf`. */
export async function slotStateOf(
  name: string,
  read: () => Promise<Slot | undefined>,
  ask: () => Promise<CapturePosition | undefined>,
  known?: SlotLoss,
): Promise<SlotState> {
  const slot = await read();
  const position = await ask();
  const loss = lossOf(name, slot, position, known);
  if (loss?.kind !== 'restored') return { slot, position, loss };
  // Postgres went on between the two: only where it ends after the position was told says anything.
  const again = await read();
  return { slot: again, position, loss: lossOf(name, again, position, known) };
}

export interface SlotGuardOptions {
  readonly slot: string;
  readonly connector: string;
  readonly client: Pick<ConnectClient, 'position' | 'status' | 'stop' | 'resume'>;
  /** The slot as it is now. */
  readonly read: (signal?: AbortSignal) => Promise<Slot | undefined>;
  /** Drops a slot that fits nothing any more, unless it is just being recaptured. */
  readonly drop: (signal?: AbortSignal) => Promise<void>;
  readonly memory: SlotGuardMemory;
  readonly listener?: SlotGuardListener;
}

/** Keeps over a restart of the process what the guard knows and did; other processes read it (source/record.ts). */
export interface SlotGuardMemory {
  recall(signal?: AbortSignal): Promise<Remembered | undefined>;
  /** Undefined: there is no loss any more. */
  remember(known: Remembered | undefined, signal?: AbortSignal): Promise<void>;
}

export interface Remembered {
  readonly loss: SlotLoss;
  /** The guard stopped the connector because of it. */
  readonly stopped: boolean;
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
  /** Whether the memory was read, and what is in it: one text for equal states. */
  #recalled = false;
  #remembered: string | undefined;
  /** The loss was told by this process. */
  #told = false;
  /** The reader of the slot whose position was compared: a restored Postgres has another one. */
  #reader: number | null = null;

  constructor(options: SlotGuardOptions) {
    this.#options = options;
  }

  /** What the last look found. */
  get loss(): SlotLoss | undefined {
    return this.#loss;
  }

  /**
   * One look. A loss that is found twice stops the connector: the first time somebody may just be repairing it. A connector that the guard
   * stopped, also before a restart of this process, goes on when the slot and the position fit again. The slot of a Postgres that was restored is dropped: it would seem to fit as soon as Postgres has
   * written as much as was captured.
   *
   * @throws whatever keeps it from looking; the answer before stands.
   */
  async look(signal?: AbortSignal): Promise<void> {
    const { slot: name, connector, client, read, drop, listener } = this.#options;
    const slot = await read(signal);
    listener?.measured?.(slot);
    await this.#recall(signal);
    const before = this.#loss;
    const sound = slot?.walStatus !== 'lost' && slot?.invalidation === null;
    // Kafka Connect reads its whole topic of positions to answer.
    const compared = before === undefined && sound && slot.reader !== null && slot.reader === this.#reader;
    const loss = compared
      ? undefined
      : (
          await slotStateOf(
            name,
            () => read(signal),
            () => client.position(connector, signal),
            before,
          )
        ).loss;
    this.#loss = loss;
    this.#reader = loss === undefined ? (slot?.reader ?? null) : null;
    if (loss === undefined) {
      if (before !== undefined) listener?.kept?.();
      if (this.#stopped) await client.resume(connector, signal);
      this.#stopped = false;
      this.#told = false;
      await this.#remember(signal);
      return;
    }
    listener?.lost?.(loss, !this.#told);
    this.#told = true;
    await this.#remember(signal);
    if (before === undefined) return;
    const status = await client.status(connector, signal);
    if (status !== undefined && status.state !== 'STOPPED') {
      this.#stopped = true;
      // Before it is done: a crash in between must not leave a stopped connector without a reason.
      await this.#remember(signal);
      await client.stop(connector, signal);
    }
    if (loss.kind === 'restored') await drop(signal);
  }

  async #recall(signal: AbortSignal | undefined): Promise<void> {
    if (this.#recalled) return;
    const known = await this.#options.memory.recall(signal);
    this.#loss = known?.loss;
    this.#stopped = known?.stopped ?? false;
    this.#remembered = textOf(known);
    this.#recalled = true;
  }

  async #remember(signal: AbortSignal | undefined): Promise<void> {
    const known = this.#loss === undefined ? undefined : { loss: this.#loss, stopped: this.#stopped };
    const text = textOf(known);
    if (text === this.#remembered) return;
    await this.#options.memory.remember(known, signal);
    this.#remembered = text;
  }
}

function textOf(known: Remembered | undefined): string | undefined {
  return known === undefined ? undefined : `${known.stopped} ${known.loss.kind} ${known.loss.reason}`;
}
