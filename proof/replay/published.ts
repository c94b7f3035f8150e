import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/errors.ts';
import type { Log, LogRecord } from '../../core/runtime/log.ts';
import { redrivenOf } from '../../core/runtime/redriven.ts';
import type { Snapshot } from '../../core/state/snapshots.ts';
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
  #queue: LogRecord[] = [];

  private constructor(reader: Reader, boundary: bigint | undefined, isOwn: (record: LogRecord) => Promise<boolean>) {
    this.#reader = reader;
    this.#boundary = boundary;
    this.#isOwn = isOwn;
  }

  /** @throws MillraceError REPLAY_IMPOSSIBLE when the topic is not kept from where it has to be compared. */
  static async open(
    log: Log,
    schemas: Schemas,
    topic: string,
    { processor, partition, base }: History,
    signal?: AbortSignal,
  ): Promise<Published> {
    const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
    const [start, to] = [starts[partition] ?? 0n, ends[partition] ?? 0n];
    const from = base.snapshot === undefined ? (base.outputEnds.get(topic) ?? 0n) : start;
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
    // What an operator redrove into the topic is not the processor's.
    return new Published(reader, boundary, async ({ headers }) => redrivenOf(headers) === undefined);
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
    return this.#queue.shift() ?? (await this.#read());
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
