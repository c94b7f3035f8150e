import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Log, LogRecord } from '../../core/log/log.ts';
import { redrivenOf } from '../../core/log/redriven.ts';
import type { Snapshot } from '../../core/state/changelog/snapshots.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { History } from './history.ts';
import { Reader } from './reader.ts';

/**
 * What one output's partition holds of a history, in its order.
 *
 * From the beginning, or after a reset, that is everything from a known offset on. After a snapshot it is found by log time, which never goes back: records
 * of a later timestamp than the snapshot's are of the history, earlier ones are not, and of those of the very same millisecond it is the last ones, as
 * many as the replay gives for it. Letters are told apart by their origin.
 */
export class Published implements AsyncDisposable {
  readonly #reader: Reader;
  readonly #isOwn: (record: LogRecord) => Promise<boolean>;
  /** Milliseconds; undefined once it is known which records of this timestamp are of the history. */
  #boundary: bigint | undefined;
  /** Milliseconds: records up to here are not compared, because those published are not all kept. */
  #keptAfter: bigint | undefined;
  #queue: LogRecord[] = [];

  private constructor(reader: Reader, boundary: bigint | undefined, isOwn: (record: LogRecord) => Promise<boolean>) {
    this.#reader = reader;
    this.#boundary = boundary;
    this.#isOwn = isOwn;
  }

  /**
   * @param partly what was published and is not kept any more is passed over, on both sides. Undefined then for letters, which have no order
   *   in time by which they could be told apart.
   * @throws MillraceError REPLAY_IMPOSSIBLE when the topic is not kept from where it has to be compared, unless `partly`.
   */
  static async open(
    log: Log,
    schemas: Schemas,
    topic: string,
    { processor, partition, base }: History,
    { partly, signal }: { readonly partly: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<Published | undefined> {
    const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
    const [start, to] = [starts[partition] ?? 0n, ends[partition] ?? 0n];
    const from = base.snapshot === undefined ? (base.outputEnds.get(topic) ?? 0n) : start;
    if (partly && start > (base.outputEnds.get(topic) ?? 0n)) {
      if (topic === `${processor}.dead`) return undefined;
      const published = new Published(new Reader(log, { topic, partition }, start, to, signal), undefined, notRedriven);
      await published.#keep(base.snapshot?.task.logTime);
      return published;
    }
    if (start > from) {
      throw new MillraceError(
        'REPLAY_IMPOSSIBLE',
        `${topic}/${partition} is kept from offset ${start} on, not from ${from}`,
        {
          remedy: 'choose --from after a snapshot, or replay with --into and without --verify',
        },
      );
    }
    const reader = new Reader(log, { topic, partition }, from, to, signal);
    const isDead = topic === `${processor}.dead`;
    if (isDead) return new Published(reader, undefined, since(schemas, base.snapshot));
    const boundary = base.snapshot === undefined ? undefined : base.snapshot.task.logTime / 1000n;
    return new Published(reader, boundary, notRedriven);
  }

  /** Finds out from when on all is kept. @param snapshotTime microseconds; records before it are of another history */
  async #keep(snapshotTime: bigint | undefined): Promise<void> {
    const boundary = snapshotTime === undefined ? undefined : snapshotTime / 1000n;
    const first = await this.#read();
    if (first === undefined) this.#keptAfter = endOfTime;
    // Earlier ones of the same millisecond may be gone.
    else if (boundary === undefined || first.timestamp >= boundary) this.#keptAfter = first.timestamp;
    else this.#boundary = boundary;
  }

  /** Whether what the replay gives at this time has no counterpart that is kept for certain. */
  isForgotten(timestamp: bigint): boolean {
    return this.#keptAfter !== undefined && timestamp <= this.#keptAfter;
  }

  /** Whether a record that the replay gives is of the millisecond in which the snapshot was taken: its counterpart is found later. */
  isAtBoundary(timestamp: bigint): boolean {
    return this.#boundary !== undefined && timestamp <= this.#boundary;
  }

  /** The replay has passed the snapshot's millisecond, and gave so many records for it. */
  async pass(given: number): Promise<void> {
    const boundary = this.#boundary;
    if (boundary === undefined) return;
    this.#boundary = undefined;
    const same: LogRecord[] = [];
    let after: LogRecord | undefined;
    for (;;) {
      after = await this.#read();
      if (after === undefined || after.timestamp > boundary) break;
      if (after.timestamp === boundary) same.push(after);
    }
    this.#queue = same.slice(Math.max(0, same.length - given));
    if (after !== undefined) this.#queue.push(after);
  }

  /** Undefined at the end of what was there when it was opened. */
  async next(): Promise<LogRecord | undefined> {
    for (;;) {
      const record = this.#queue.shift() ?? (await this.#read());
      if (record === undefined || !this.isForgotten(record.timestamp)) return record;
    }
  }

  async #read(): Promise<LogRecord | undefined> {
    for (;;) {
      const record = await this.#reader.next();
      if (record === undefined || (await this.#isOwn(record))) return record;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader[Symbol.asyncDispose]();
  }
}

/** Milliseconds, beyond all records. */
const endOfTime = 2n ** 63n;

/** What an operator redrove into the topic is not the processor's. */
async function notRedriven({ headers }: LogRecord): Promise<boolean> {
  return redrivenOf(headers) === undefined;
}

/** Letters of records that the snapshot does not have behind it. */
function since(schemas: Schemas, snapshot: Snapshot | undefined): (record: LogRecord) => Promise<boolean> {
  if (snapshot === undefined) return async () => true;
  const { positions, task } = snapshot;
  const decoder = new AvroDecoder<DeadLetter>(schemas, contracts.dead_letter);
  return async ({ value }) => {
    if (value === null) return false;
    const missing = decoder.missing([value]);
    if (missing.length > 0) await decoder.prepare(missing);
    const { topic, partition, offset } = decoder.decode(value).origin;
    return offset >= (positions.get(topic) ?? task.tables[topic]?.[partition] ?? 0n);
  };
}
