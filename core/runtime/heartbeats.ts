import { type Clock, wallClock } from '../base/clock.ts';
import { dispositionOf } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import type { Beat } from './handler.ts';

export interface HeartbeatOptions {
  readonly log: Log;
  /** A topic with one partition. */
  readonly topic: string;
  /** Log time of a heartbeat record in microseconds. May be asynchronous: the first one fetches its schema. */
  readonly read: (value: Buffer) => Promise<bigint>;
  readonly onBeat: (beat: Beat) => void;
  readonly onError: (error: unknown) => void;
  readonly clock?: Clock;
}

const waitMs = 500;
const retryMs = 1_000;

/**
 * Follows the heartbeat rows from the topic's end on. They are the only source of log time for a quiet partition: when the capture
 * stands still, none arrive, and nothing closes.
 */
export class Heartbeats implements AsyncDisposable {
  readonly #options: HeartbeatOptions;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#done = this.#follow();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#read();
      } catch (error) {
        if (signal.aborted) return;
        this.#options.onError(error);
        // A heartbeat lost here costs a delay, never a result: the next one says more.
        const { clock = wallClock } = this.#options;
        await clock.sleep(dispositionOf(error) === 'stop' ? 5 * retryMs : retryMs, signal);
      }
    }
  }

  async #read(): Promise<void> {
    const { log, topic, read, onBeat } = this.#options;
    const { signal } = this.#stop;
    await using fetcher = log.fetcher();
    let offset = (await log.ends(topic))[0] ?? 0n;
    while (!signal.aborted) {
      const [fetched] = await fetcher.fetch([{ topic, partition: 0, offset }], {
        maxWaitMs: waitMs,
        maxBytesPerPartition: 65_536,
        signal,
      });
      if (fetched === undefined) continue;
      offset = fetched.next;
      const newest = fetched.records.findLast((record) => record.value !== null);
      if (newest?.value != null) onBeat({ logTime: await read(newest.value), offset: newest.offset });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}
