import { type Log, type LogRecord, readRange, type TopicPartition } from '../../core/log/log.ts';

const options = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 } as const;

/** Reads one partition from one offset to another, in pieces whose ends the caller decides. */
export class ReplayReader implements AsyncDisposable {
  readonly #portions: AsyncGenerator<readonly LogRecord[]>;
  #left: readonly LogRecord[] = [];
  #done = false;

  constructor(log: Log, at: TopicPartition, from: bigint, to: bigint, signal?: AbortSignal) {
    const { topic, partition } = at;
    this.#portions = readRange(
      log,
      { topic, partition, from, to },
      signal === undefined ? options : { ...options, signal },
    );
  }

  /** The unread records before this offset. */
  async *until(offset: bigint): AsyncGenerator<readonly LogRecord[]> {
    for (;;) {
      if (this.#left.length === 0 && !(await this.#fetch())) return;
      const cut = this.#left.findIndex((record) => record.offset >= offset);
      if (cut === 0) return;
      const portion = cut < 0 ? this.#left : this.#left.slice(0, cut);
      this.#left = cut < 0 ? [] : this.#left.slice(cut);
      yield portion;
      if (cut > 0) return;
    }
  }

  /** The next record; undefined at the end. */
  async next(): Promise<LogRecord | undefined> {
    if (this.#left.length === 0 && !(await this.#fetch())) return undefined;
    const [record] = this.#left;
    this.#left = this.#left.slice(1);
    return record;
  }

  async #fetch(): Promise<boolean> {
    if (this.#done) return false;
    const { done, value } = await this.#portions.next();
    this.#done = done === true;
    this.#left = done === true ? [] : value;
    return !this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#done = true;
    await this.#portions.return(undefined);
  }
}
