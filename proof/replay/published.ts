import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Log, LogRecord } from '../../core/log/log.ts';
import { redrivenOf } from '../../core/log/redriven.ts';
import type { Snapshot } from '../../core/state/changelog/snapshots.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { TaskHistory } from './history.ts';
import { ReplayReader } from './reader.ts';

/**
 * The records of a history in one output's partition, in order.
 *
 * From the beginning, or after a reset, these are all records from a known offset on. After a snapshot they are found by log time, which
 * never decreases. Records with a later timestamp than the snapshot belong to the history, and earlier ones do not. Of those in the same
 * millisecond the last ones belong, as many as the replay produces for it. Letters are distinguished by their origin.
 */
export class Published implements AsyncDisposable {
  readonly #reader: ReplayReader;
  readonly #isOwn: (record: LogRecord) => Promise<boolean>;
  /** Milliseconds; undefined once the history's records of this timestamp are known. */
  #boundary: bigint | undefined;
  /** Milliseconds: records up to here are not compared, because some of the published ones are deleted. */
  #keptAfter: bigint | undefined;
  #queue: LogRecord[] = [];

  private constructor(
    reader: ReplayReader,
    boundary: bigint | undefined,
    isOwn: (record: LogRecord) => Promise<boolean>,
  ) {
    this.#reader = reader;
    this.#boundary = boundary;
    this.#isOwn = isOwn;
  }

  /**
   * @param partly leaves out outputs that are no longer kept, on both sides. Letters then yield undefined: they have no order in time to
   *   distinguish them.
   * @throws MillraceError REPLAY_IMPOSSIBLE: the topic is not kept from the start of the comparison, and `partly` is false.
   */
  static async open(
    log: Log,
    schemas: Schemas,
    topic: string,
    { processor, partition, base }: TaskHistory,
    { partly, signal }: { readonly partly: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<Published | undefined> {
    const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
    const [start, to] = [starts[partition] ?? 0n, ends[partition] ?? 0n];
    const from = base.snapshot === undefined ? (base.outputEnds.get(topic) ?? 0n) : start;
    if (partly && start > (base.outputEnds.get(topic) ?? 0n)) {
      if (topic === `${processor}.dead`) return undefined;
      const published = new Published(
        new ReplayReader(log, { topic, partition }, start, to, signal),
        undefined,
        notRedriven,
      );
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
    const reader = new ReplayReader(log, { topic, partition }, from, to, signal);
    const isDead = topic === `${processor}.dead`;
    if (isDead) return new Published(reader, undefined, since(schemas, base.snapshot));
    const boundary = base.snapshot === undefined ? undefined : base.snapshot.task.logTime / 1000n;
    return new Published(reader, boundary, notRedriven);
  }

  /** Finds the time after which all records are kept. @param snapshotTime microseconds; earlier records belong to another history */
  async #keep(snapshotTime: bigint | undefined): Promise<void> {
    const boundary = snapshotTime === undefined ? undefined : snapshotTime / 1000n;
    const first = await this.#read();
    if (first === undefined) this.#keptAfter = endOfTime;
    // Earlier records of the same millisecond may be deleted.
    else if (boundary === undefined || first.timestamp >= boundary) this.#keptAfter = first.timestamp;
    else this.#boundary = boundary;
  }

  /** Whether a replayed record of this time may have a deleted counterpart. */
  isForgotten(timestamp: bigint): boolean {
    return this.#keptAfter !== undefined && timestamp <= this.#keptAfter;
  }

  /** Whether a replayed record is in the snapshot's millisecond: its counterpart is found later. */
  isAtBoundary(timestamp: bigint): boolean {
    return this.#boundary !== undefined && timestamp <= this.#boundary;
  }

  /** Called when the replay has passed the snapshot's millisecond. @param given records that it produced for it */
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

  /** The next record; undefined at the end as of the opening. */
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

/** Milliseconds, later than all records. */
const endOfTime = 2n ** 63n;

/** Records that an operator redrove into the topic are not the processor's. */
async function notRedriven({ headers }: LogRecord): Promise<boolean> {
  return redrivenOf(headers) === undefined;
}

/** Selects letters of records that are not in the snapshot. */
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
