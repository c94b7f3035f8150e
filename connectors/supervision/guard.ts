/**
 * Detects that a replication slot cannot deliver all uncaptured changes, and then stops the capture: later changes would hide the gap. The
 * operator decides how to go on (recapture/).
 */
import { formatLsn } from '../../core/values/lsn.ts';
import type { CapturePosition, ConnectClient } from '../client.ts';
import type { Slot } from './slot.ts';

export interface SlotLoss {
  /**
   * `missing`: dropped. `invalidated`: Postgres invalidated it. `recreated`: another slot that begins later. `restored`: Postgres is at a
   * state before captured changes, so its next changes would reuse their LSNs.
   */
  readonly kind: 'missing' | 'invalidated' | 'recreated' | 'restored';
  /** Cause, one sentence. */
  readonly reason: string;
  /** Captured position when the loss was found. */
  readonly captured: bigint;
}

/**
 * The loss, if any. A connector without a position has captured nothing, so there is no gap. A connector within its first snapshot needs no
 * slot to continue: a comparison with a new slot fills the missing rows (recapture/first-snapshot.ts).
 *
 * @param slot read before the position: a consumer confirms only what its position says.
 * @param known a loss found before. Then a new or active slot proves nothing.
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
  // Postgres writes on and will pass the position; only a recapture changes the position.
  if (known?.kind === 'restored' && known.captured === captured) return known;
  // Debezium compared slot and position before it attached a reader.
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
  /** Undefined when the slot does not exist. */
  readonly slot: Slot | undefined;
  /** Undefined when the connector has captured nothing. */
  readonly position: CapturePosition | undefined;
  readonly loss: SlotLoss | undefined;
}

/** Reads the slot first, then the position: see `lossOf`. */
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
  // Postgres may have written between the two reads: only a WAL end read after the position is evidence.
  const again = await read();
  return { slot: again, position, loss: lossOf(name, again, position, known) };
}

export interface SlotGuardOptions {
  readonly slot: string;
  readonly connector: string;
  readonly client: Pick<ConnectClient, 'position' | 'status' | 'stop' | 'resume'>;
  /** Reads the slot's present state. */
  readonly read: (signal?: AbortSignal) => Promise<Slot | undefined>;
  /** Drops an unusable slot, unless a recapture is under way. */
  readonly drop: (signal?: AbortSignal) => Promise<void>;
  readonly memory: SlotGuardMemory;
  readonly listener?: SlotGuardListener;
}

/** Keeps the guard's state over restarts of the process. Other processes read it (source/record.ts). */
export interface SlotGuardMemory {
  recall(signal?: AbortSignal): Promise<Remembered | undefined>;
  /** Stores the loss; undefined removes it. */
  remember(known: Remembered | undefined, signal?: AbortSignal): Promise<void>;
}

export interface Remembered {
  readonly loss: SlotLoss;
  /** The guard stopped the connector because of the loss. */
  readonly stopped: boolean;
}

export interface SlotGuardListener {
  /** Called after every look; undefined without a slot. */
  measured?(slot: Slot | undefined): void;
  /** Called after every look that finds a loss; `first` if the look before found none. */
  lost?(loss: SlotLoss, first: boolean): void;
  /** Called after a look that no longer finds a loss. */
  kept?(): void;
}

export class SlotGuard {
  readonly #options: SlotGuardOptions;
  #loss: SlotLoss | undefined;
  #stopped = false;
  /** Whether the memory was read, and its content: equal states have equal text. */
  #recalled = false;
  #remembered: string | undefined;
  /** This process has reported the loss. */
  #told = false;
  /** Backend process of the slot's reader at the last comparison. A restored Postgres has another one. */
  #reader: number | null = null;

  constructor(options: SlotGuardOptions) {
    this.#options = options;
  }

  /** Loss found by the last look; undefined without one. */
  get loss(): SlotLoss | undefined {
    return this.#loss;
  }

  /**
   * One look. A loss found twice stops the connector: at the first look, an operator may be repairing it. A connector stopped by the guard,
   * also before a restart of this process, resumes when slot and position fit again. The slot of a restored Postgres is dropped: it would
   * seem to fit as soon as Postgres has written as much as was captured.
   *
   * @throws any error of the look; the last result stays.
   */
  async look(signal?: AbortSignal): Promise<void> {
    const { slot: name, connector, client, read, drop, listener } = this.#options;
    const slot = await read(signal);
    listener?.measured?.(slot);
    await this.#recall(signal);
    const before = this.#loss;
    const sound = slot?.walStatus !== 'lost' && slot?.invalidation === null;
    // Kafka Connect reads its whole offsets topic to answer.
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
      // Stored before the stop: a crash in between must not leave a stopped connector without a reason.
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
