import type { AvroDecoder } from '../../core/avro/decoder.ts';
import type { AvroEncoder } from '../../core/avro/encoder.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { HotTable } from '../../core/hot-store/tables.ts';
import { prepareDecoder, valuesOf } from '../../core/log/decoding.ts';
import type { Fetched, LogRecord, Transaction } from '../../core/log/log.ts';
import type { Metrics, TaskMetrics } from '../../core/observability/metrics.ts';
import { deadLetter } from '../../core/runtime/fold/dead-letter.ts';
import type { Handler, Ownership } from '../../core/runtime/handler.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import type { Breaker } from './breaker.ts';
import { Newest, rowOf } from './row.ts';
import type { HotStore } from './store.ts';

export interface HotStoreSettings {
  /** Rows after which a batch is written. */
  readonly batchRows: number;
  /** Wall time since the first waiting row after which a batch is written, milliseconds. */
  readonly flushMs: number;
}

export interface HotStoreEnvironment {
  readonly name: string;
  readonly table: HotTable;
  readonly store: HotStore;
  /** Shared by all tasks that write to the store. */
  readonly breaker: Breaker;
  readonly settings: HotStoreSettings;
  readonly decoder: AvroDecoder<object>;
  readonly deadEncoder: AvroEncoder<DeadLetter>;
  readonly metrics: Metrics;
  readonly taskMetrics: TaskMetrics;
  readonly now: () => number;
}

interface HotStoreRefusal {
  readonly record: LogRecord;
  readonly error: MillraceError;
}

/** Bytes of records after which a batch is written, however few its rows. */
const batchBytes = 4 * 1024 * 1024;

/**
 * Keeps the newest revision of each key of one partition in a table. Two steps, in this order:
 *
 *   1. upsert the newest row of each key; the database keeps its row if that has the same or a greater revision
 *   2. commit the offset and the dead letters of the range in one Kafka transaction
 *
 * After a crash between them, the next owner writes the same rows again, and the guard makes that a no-op. A zombie is an owner that was
 * replaced and does not know it yet. Kafka refuses its step 2, because the transactional id has a newer owner. Its step 1 brings only rows
 * that the new owner brings too, or older ones. Every order of writes ends in the same table, so the database needs no fence.
 *
 * While the store is down, the task waits in step 1 and takes no records. It holds at most one batch.
 */
export class HotStoreHandler implements Handler {
  readonly #own: Ownership;
  readonly #env: HotStoreEnvironment;
  readonly #rows = new Newest();
  #refused: HotStoreRefusal[] = [];
  /** All records before this offset are committed. */
  #committed = 0n;
  /** All records before this offset are in `#rows`, in `#refused`, or committed. */
  #position = 0n;
  #bytes = 0;
  #firstWaitsMs: number | undefined;
  /** Timestamp of the oldest uncommitted record. */
  #oldest: bigint | undefined;

  constructor(ownership: Ownership, environment: HotStoreEnvironment) {
    this.#own = ownership;
    this.#env = environment;
  }

  /** Does not query the database, so a partition can be owned while the database is down. */
  async open(): Promise<readonly bigint[]> {
    const { committed, start } = this.#own;
    this.#committed = committed?.offset ?? start;
    this.#position = this.#committed;
    this.#showOldest();
    this.#env.taskMetrics.takenOver(0);
    return [this.#position];
  }

  async process(fetched: Fetched): Promise<void> {
    const { decoder, settings, taskMetrics, now } = this.#env;
    const { records, next } = fetched;
    await prepareDecoder(decoder, valuesOf(records), this.#own.ending, () => this.#flush());
    this.#oldest ??= records[0]?.timestamp;
    this.#showOldest();
    for (const [i, record] of records.entries()) {
      this.#take(record);
      this.#position = record.offset + 1n;
      if (this.#rows.size >= settings.batchRows || this.#bytes >= batchBytes) {
        await this.#flush();
        this.#oldest = records[i + 1]?.timestamp;
      }
    }
    this.#position = next;
    if (this.#position > this.#committed) this.#firstWaitsMs ??= now();
    taskMetrics.processed(records.length);
    this.#showOldest();
    await this.tick();
  }

  async tick(): Promise<void> {
    if (this.#firstWaitsMs === undefined) return;
    if (this.#env.now() - this.#firstWaitsMs >= this.#env.settings.flushMs) await this.#flush();
  }

  /** Tries once. If the store is down, the next owner reads the waiting records again. */
  async close(): Promise<void> {
    await this.#flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { topic, partition } = this.#own;
    this.#env.metrics.hotStoreOldest.forget(topic, partition);
  }

  #take(record: LogRecord): void {
    const { table, decoder } = this.#env;
    this.#bytes += record.value?.length ?? 0;
    try {
      this.#rows.add(rowOf(table, record, decoder));
    } catch (error) {
      if (!(error instanceof MillraceError) || error.disposition !== 'deadLetter') throw error;
      this.#refused.push({ record, error });
    }
  }

  async #flush(): Promise<void> {
    if (this.#position > this.#committed) {
      await this.#write();
      await this.#commit();
    }
    this.#firstWaitsMs = undefined;
    this.#showOldest();
  }

  /** Step 1. */
  async #write(): Promise<void> {
    const { breaker, store, table, metrics, taskMetrics, name } = this.#env;
    const rows = this.#rows.rows();
    if (rows.length === 0) return;
    const { changed, refused } = await breaker.run(() => store.upsert(table, rows), this.#own.ending);
    metrics.sinkRows.inc({ name, topic: table.topic }, changed);
    taskMetrics.duplicate(rows.length - changed - refused.length);
    for (const { row, error } of refused) this.#refused.push({ record: row.record, error });
  }

  /** Step 2. */
  async #commit(): Promise<void> {
    const { taskMetrics, now } = this.#env;
    const { group, topic, partition, writer } = this.#own;
    const refused = this.#refused.sort((a, b) => (a.record.offset < b.record.offset ? -1 : 1));
    const transaction: Transaction = {
      records: refused.map((each) => this.#deadLetter(each)),
      offsets: { group, positions: [{ topic, partition, offset: this.#position }] },
    };
    const startedMs = now();
    try {
      await writer.transact(transaction);
    } catch (error) {
      taskMetrics.aborted(error instanceof MillraceError ? error.code : 'UNKNOWN');
      throw error;
    }
    taskMetrics.committed((now() - startedMs) / 1000);
    for (const { error } of refused) taskMetrics.deadLetter(error.code);
    this.#committed = this.#position;
    this.#refused = [];
    this.#rows.clear();
    this.#bytes = 0;
    this.#oldest = undefined;
  }

  #deadLetter({ record, error }: HotStoreRefusal): Transaction['records'][number] {
    const { topic, partition } = this.#own;
    const refusal = { processor: this.#env.name, at: { topic, partition }, record, error, lsn: null };
    return deadLetter(this.#env.deadEncoder, refusal);
  }

  #showOldest(): void {
    const { topic, partition } = this.#own;
    const oldest = this.#oldest === undefined ? undefined : Number(this.#oldest);
    this.#env.metrics.hotStoreOldest.set(topic, partition, oldest);
  }
}
