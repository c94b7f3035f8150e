import { setTimeout as delay } from 'node:timers/promises';
import type { ControlEntry } from '../../schemas/gen/control_entry.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import type { Fetcher, Log, LogRecord } from '../log/log.ts';

/** Operators' standing orders: compacted, one partition, a tombstone takes an order back. */
export const controlTopic = 'control';

/** The orders that stand, from the records of the control topic in their order. */
export class Standing {
  readonly #entries = new Map<string, ControlEntry>();

  static key({ name, partition }: { readonly name: string; readonly partition: number | null }): string {
    return `${name}/${partition ?? '*'}`;
  }

  /** The decoder has the schemas of the record. */
  take({ key, value }: LogRecord, decoder: AvroDecoder<ControlEntry>): void {
    const id = key?.toString('utf8') ?? '';
    if (value === null) this.#entries.delete(id);
    else this.#entries.set(id, decoder.decode(value));
  }

  entries(): readonly ControlEntry[] {
    return [...this.#entries.values()];
  }

  isPaused(name: string, partition: number): boolean {
    return (
      this.#entries.has(Standing.key({ name, partition: null })) || this.#entries.has(Standing.key({ name, partition }))
    );
  }
}

export interface ControlOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  /** The topic cannot be read; orders stay as they were known. */
  readonly onError: (error: unknown) => void;
}

const waitMs = 500;
const retryMs = 1_000;

/**
 * Follows operators' orders. Opened before any task starts, and then complete: a task that was paused before a restart does not read a
 * record after it.
 */
export class Control implements AsyncDisposable {
  readonly #options: ControlOptions;
  readonly #stop = new AbortController();
  readonly #decoder: AvroDecoder<ControlEntry>;
  readonly #standing = new Standing();
  readonly #listeners = new Set<() => void>();
  #offset = 0n;
  #done: Promise<void> = Promise.resolve();

  private constructor(options: ControlOptions) {
    this.#options = options;
    this.#decoder = new AvroDecoder<ControlEntry>(options.schemas, contracts.control_entry);
  }

  /** @throws MillraceError TOPIC_MISSING, KAFKA_UNREACHABLE, REGISTRY_UNREACHABLE */
  static async open(options: ControlOptions): Promise<Control> {
    const control = new Control(options);
    const { log } = options;
    const [[start = 0n], [end = 0n]] = await Promise.all([log.starts(controlTopic), log.ends(controlTopic)]);
    control.#offset = start;
    await using fetcher = log.fetcher();
    while (control.#offset < end) await control.#fetch(fetcher);
    control.#done = control.#follow();
    return control;
  }

  isPaused(name: string, partition: number): boolean {
    return this.#standing.isPaused(name, partition);
  }

  /** Calls back whenever orders have changed, until disposed of. */
  subscribe(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  async #follow(): Promise<void> {
    const { log, onError } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await using fetcher = log.fetcher();
        while (!signal.aborted) await this.#fetch(fetcher);
      } catch (error) {
        if (signal.aborted) return;
        onError(error);
        await delay(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #fetch(fetcher: Fetcher): Promise<void> {
    const [fetched] = await fetcher.fetch([{ topic: controlTopic, partition: 0, offset: this.#offset }], {
      maxWaitMs: waitMs,
      maxBytesPerPartition: 1_048_576,
      signal: this.#stop.signal,
    });
    if (fetched === undefined) return;
    const missing = this.#decoder.missing(fetched.records.map(({ value }) => value));
    if (missing.length > 0) await this.#decoder.prepare(missing);
    for (const record of fetched.records) this.#standing.take(record, this.#decoder);
    this.#offset = fetched.next;
    if (fetched.records.length > 0) for (const listener of this.#listeners) listener();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}
