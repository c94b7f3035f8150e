import { objectKey } from '../../core/archive/keys.ts';
import { listedUpTo } from '../../core/archive/listing/position.ts';
import { letterHeaders } from '../../core/archive/rows/origin.ts';
import type { Table } from '../../core/archive/rows/tables.ts';
import { type PutOnceResult, putOnce } from '../../core/archive/s3/put-once.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import { formatUnlisted, parseUnlisted, type Unlisted } from '../../core/archive/unlisted.ts';
import type { TableDecoder } from '../../core/archive/writing/decoder.ts';
import { buildOf, type Form, formOf, forms } from '../../core/archive/writing/writer.ts';
import type { AvroEncoder } from '../../core/avro/encoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { mapConcurrently } from '../../core/base/map-concurrently.ts';
import { prepareDecoder, valuesOf } from '../../core/log/decoding.ts';
import {
  type Fetched,
  type LogRecord,
  type OutRecord,
  partitionId,
  readRange,
  type Transaction,
} from '../../core/log/log.ts';
import { isPassed, positionIn } from '../../core/log/position.ts';
import type { Metrics, TaskMetrics } from '../../core/observability/metrics.ts';
import { deadLetter } from '../../core/runtime/fold/dead-letter.ts';
import type { Handler, Ownership } from '../../core/runtime/handler.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { objectsTopic } from '../../schemas/topics.ts';
import type { Budget } from './building/budget.ts';
import { RecordBuffer } from './building/buffer.ts';
import { type Built, type BuiltObject, buildObjects, type RefusedRecord } from './building/build.ts';
import { type Cut, formatCut, parseCut } from './cut.ts';
import type { Mutex } from './mutex.ts';

export interface ParquetSettings {
  /** Records after which a cut is due. */
  readonly flushSize: number;
  /** A record cuts when its timestamp is this much later than the first buffered one, milliseconds. Default 0: never. */
  readonly rotateIntervalMs?: number;
  /** Buffered bytes after which a cut is due. */
  readonly flushBytes: number;
  /** Wall time since the first buffered record after which a cut is due, milliseconds. */
  readonly flushMs: number;
  /** Bytes buffered by all partitions of the sink together, beyond which the larger ones cut early. */
  readonly bufferBytes: number;
  /** Concurrent uploads of one cut. Default 4. */
  readonly uploads?: number;
  /** Whether an orderly close cuts the buffered records. Default false: the next owner reads them again. */
  readonly flushOnClose?: boolean;
}

export interface ParquetEnvironment {
  readonly name: string;
  readonly schemas: Schemas;
  readonly table: Table;
  readonly store: ObjectStore;
  readonly settings: ParquetSettings;
  /** Normal prefix: empty or ending with a slash. */
  readonly prefix: string;
  readonly epoch: string;
  readonly decoder: TableDecoder;
  /** Form of new cuts. A planned cut is finished in its own form. */
  readonly form: Form;
  readonly objectEncoder: AvroEncoder<ArchiveObject>;
  readonly deadEncoder: AvroEncoder<DeadLetter>;
  readonly metrics: Metrics;
  readonly taskMetrics: TaskMetrics;
  readonly now: () => number;
  readonly budget: Budget;
  /** Partitions build their objects one after the other, so one cut bounds memory. */
  readonly mutex: Mutex;
}

const rebuildFetch = { maxWaitMs: 250, maxBytesPerPartition: 512 * 1024 };

/**
 * Archives one partition: it buffers records and cuts them into objects. A cut takes three steps. After a crash in any of them, the next
 * owner does the same again:
 *
 *   1. commit the cut as metadata of the old offset, which fixes the objects
 *   2. upload one object per day, each only if it is absent
 *   3. commit the cut's end, the object records and the dead letters in one transaction, which makes the objects visible
 *
 * No state is in memory only: buffered records without a commit are read again.
 */
export class ParquetHandler implements Handler {
  readonly #env: ParquetEnvironment;
  readonly #own: Ownership;
  readonly #id: string;
  readonly #buffer = new RecordBuffer();
  /** All records before this offset are committed. */
  #committed = 0n;
  /** All records before this offset are in the buffer or committed. */
  #position = 0n;
  #firstBufferedMs: number | undefined;
  #unlisted: Unlisted | undefined;

  constructor(ownership: Ownership, environment: ParquetEnvironment) {
    this.#own = ownership;
    this.#env = environment;
    const id = partitionId(ownership);
    const { budget } = environment;
    this.#id = id;
    // Captures no `this`: the signal outlives many handlers during retries, and would keep all their buffers alive.
    ownership.signal.addEventListener('abort', () => budget.set(id, 0), { once: true });
  }

  async open(): Promise<readonly bigint[]> {
    const { committed, start, partition, log, signal } = this.#own;
    const { name, schemas, table } = this.#env;
    const startedMs = this.#env.now();
    const cut = parseCut(
      committed?.metadata ?? '',
      forms.map(({ version }) => version),
    );
    this.#unlisted = parseUnlisted(committed?.metadata ?? '');
    const listed = await listedUpTo(log, schemas, table.topic, partition, signal);
    // Committed records without an object begin where the newest object ends.
    const since = this.#unlisted?.since ?? committed?.offset;
    const passed = listed !== undefined && isPassed(listed, since, start);
    this.#committed = positionIn(this.#own, name, passed ? since : listed, since);
    this.#position = this.#committed;
    if (cut !== undefined) await this.#resume(cut);
    this.#showOldest(); // nothing waits: 0 is a value, a missing series would raise an alert
    this.#env.taskMetrics.takenOver((this.#env.now() - startedMs) / 1000);
    return [this.#position];
  }

  async process(fetched: Fetched): Promise<void> {
    const { decoder, settings, taskMetrics, budget } = this.#env;
    await prepareDecoder(decoder, valuesOf(fetched.records), this.#own.signal, () => this.#cut());
    for (const record of fetched.records) {
      if (this.#rotates(record)) await this.#cut();
      this.#buffer.push(record);
      this.#position = record.offset + 1n;
      if (this.#buffer.length >= settings.flushSize || this.#buffer.bytes >= settings.flushBytes) await this.#cut();
    }
    this.#position = fetched.next;
    budget.set(this.#id, this.#own.signal.aborted ? 0 : this.#buffer.bytes);
    if (budget.exceededBy(this.#id)) await this.#cut();
    if (this.#position > this.#committed) this.#firstBufferedMs ??= this.#env.now();
    taskMetrics.processed(fetched.records.length);
    this.#showOldest();
    await this.tick();
  }

  async tick(): Promise<void> {
    if (this.#firstBufferedMs === undefined) return;
    if (this.#env.now() - this.#firstBufferedMs >= this.#env.settings.flushMs) await this.#cut();
  }

  async close(): Promise<void> {
    if (this.#env.settings.flushOnClose === true) await this.#cut();
    this.#env.budget.set(this.#id, 0);
  }

  #rotates({ timestamp }: LogRecord): boolean {
    const { rotateIntervalMs = 0 } = this.#env.settings;
    const first = this.#buffer.firstTimestamp;
    return rotateIntervalMs > 0 && first !== undefined && timestamp - first >= BigInt(rotateIntervalMs);
  }

  /** Finishes the previous owner's planned cut unchanged. */
  async #resume(cut: Cut): Promise<void> {
    const { topic, partition, log, signal } = this.#own;
    const range = { topic, partition, from: this.#committed, to: cut.end };
    for await (const records of readRange(log, range, { ...rebuildFetch, signal })) {
      await prepareDecoder(this.#env.decoder, valuesOf(records), signal);
      for (const record of records) this.#buffer.push(record);
    }
    this.#position = cut.end;
    this.#showOldest();
    await this.#finish(cut, await this.#build(formOf(cut.writerVersion), cut.schemaId));
  }

  /** Cuts at the position. */
  async #cut(): Promise<void> {
    if (this.#position === this.#committed) {
      this.#firstBufferedMs = undefined;
      return;
    }
    const { form } = this.#env;
    const built = await this.#build(form);
    const { schemaId } = built;
    const cut = { end: this.#position, schemaId, writerVersion: form.version, unlisted: this.#unlisted };
    // Without objects, a retry has nothing that it could do differently.
    if (built.objects.length > 0) {
      await this.#transact({ records: [], offsets: this.#offsets(this.#committed, formatCut(cut)) });
    }
    await this.#finish(cut, built);
  }

  async #build(form: Form, schemaId?: number): Promise<Built> {
    const { table, decoder, mutex } = this.#env;
    const { signal } = this.#own;
    const options = schemaId === undefined ? { form, signal } : { form, schemaId, signal };
    return mutex.run(() => buildObjects(table, this.#own, this.#buffer, decoder, options), signal);
  }

  /** Steps 2 and 3. */
  async #finish(cut: Cut, built: Built): Promise<void> {
    const keys = built.objects.map((object) => this.#key(object));
    const form = formOf(cut.writerVersion);
    const concurrency = this.#env.settings.uploads ?? 4;
    const kept = await mapConcurrently(built.objects, concurrency, (object, i) =>
      this.#put(form, object, keys[i] ?? ''),
    );
    const timestamp = this.#buffer.lastTimestamp ?? 0n;
    const { since, deadLetters } = this.#unlisted ?? { since: this.#committed, deadLetters: 0 };
    const range = { from: since, deadLetters: deadLetters + built.refused.length };
    const listed = built.objects.map((object, i) =>
      this.#objectRecord(cut, object, keys[i] ?? '', kept[i] as PutOnceResult, range, timestamp),
    );
    const dead = built.refused.map((refused) => this.#deadLetter(refused));
    const unlisted = listed.length > 0 ? undefined : { since, deadLetters: range.deadLetters };
    const metadata = unlisted === undefined ? undefined : formatUnlisted(unlisted);
    await this.#transact({ records: [...listed, ...dead], offsets: this.#offsets(cut.end, metadata) });
    const rows = built.objects.reduce((sum, object) => sum + object.rows, 0);
    const bytes = kept.reduce((sum, object) => sum + object.bytes, 0);
    this.#env.taskMetrics.archived({ files: kept.length, rows, bytes });
    for (const { error } of built.refused) this.#env.taskMetrics.deadLetter(error.code);
    this.#committed = cut.end;
    this.#unlisted = unlisted;
    this.#buffer.clear();
    this.#env.budget.set(this.#id, 0);
    this.#firstBufferedMs = undefined;
    this.#showOldest();
  }

  async #put(form: Form, object: BuiltObject, key: string): Promise<PutOnceResult> {
    const { store, metrics, name, now } = this.#env;
    const { bytes, sha256, rows, rowHash } = object;
    const startedMs = now();
    const content = { rows: String(rows), 'row-hash': rowHash };
    const kept = await putOnce(store, { key, bytes, sha256, content, build: buildOf(form) }, this.#own.signal);
    metrics.sinkUploadSeconds.observe({ name }, (now() - startedMs) / 1000);
    return kept;
  }

  #key({ day, firstOffset }: BuiltObject): string {
    const { prefix, epoch } = this.#env;
    const { topic, partition } = this.#own;
    return objectKey({ prefix, epoch, topic, partition, day, firstOffset });
  }

  #objectRecord(
    cut: Cut,
    object: BuiltObject,
    key: string,
    kept: PutOnceResult,
    range: { readonly from: bigint; readonly deadLetters: number },
    timestamp: bigint,
  ): OutRecord {
    const { epoch, table, objectEncoder } = this.#env;
    const { topic, partition } = this.#own;
    const value = objectEncoder.encode({
      key,
      epoch,
      topic,
      partition,
      day: object.day,
      from_offset: range.from,
      to_offset: cut.end,
      first_offset: object.firstOffset,
      last_offset: object.lastOffset,
      rows: BigInt(object.rows),
      row_hash: object.rowHash,
      sha256: kept.sha256,
      bytes: BigInt(kept.bytes),
      dead_letters: BigInt(range.deadLetters),
      schema_id: cut.schemaId,
      writer_version: cut.writerVersion,
    });
    return { topic: objectsTopic(table.topic), partition, key: null, value, timestamp };
  }

  #deadLetter({ record, error }: RefusedRecord): OutRecord {
    const { topic, partition } = this.#own;
    const letter = deadLetter(this.#env.deadEncoder, {
      processor: this.#env.name,
      at: { topic, partition },
      record,
      error,
      lsn: null,
    });
    return { ...letter, headers: { ...letter.headers, ...letterHeaders(record) } };
  }

  #offsets(offset: bigint, metadata?: string): Transaction['offsets'] & object {
    const { group, topic, partition } = this.#own;
    return {
      group,
      positions: [metadata === undefined ? { topic, partition, offset } : { topic, partition, offset, metadata }],
    };
  }

  async #transact(transaction: Transaction): Promise<void> {
    const { taskMetrics, now } = this.#env;
    const startedMs = now();
    try {
      await this.#own.writer.transact(transaction);
      taskMetrics.committed((now() - startedMs) / 1000);
    } catch (error) {
      taskMetrics.aborted(error instanceof MillraceError ? error.code : 'UNKNOWN');
      throw error;
    }
  }

  #showOldest(): void {
    const oldest = this.#buffer.firstTimestamp;
    this.#env.taskMetrics.unarchivedSince(oldest === undefined ? undefined : Number(oldest));
  }
}
