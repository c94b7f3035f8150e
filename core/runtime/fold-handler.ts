import { MillraceError } from '../errors.ts';
import type { TaskMetrics } from '../observability/metrics.ts';
import type { Context, Fold, Processor, Store } from '../processor/define.ts';
import { changelogTopic, restore, type TaskState, taskRecord, writeBarrier } from '../state/changelog.ts';
import { Stores } from '../state/stores.ts';
import type { Codecs } from './codecs.ts';
import { Committer } from './commit.ts';
import { prepareDecoder } from './decoding.ts';
import type { Beat, Handler, Ownership } from './handler.ts';
import { ChangeIdentity } from './identity.ts';
import { readInput } from './input.ts';
import type { Fetched, LogRecord, OutRecord } from './log.ts';

export interface FoldSettings {
  /** Longest wall time between the first uncommitted record and its commit. Default 100. */
  readonly commitIntervalMs: number;
  /** Input records after which a commit is due at once. */
  readonly commitRecords: number;
}

export interface FoldEnvironment<In> {
  readonly processor: Processor<In>;
  readonly codecs: Codecs<In>;
  readonly settings: FoldSettings;
  readonly metrics: TaskMetrics;
  /** Wall clock in milliseconds: commit intervals and barrier timestamps, never a result. */
  readonly now: () => number;
}

/** Runs a processor's fold over one partition: decode, dedup, advance log time, fold, collect, commit. */
export class FoldHandler<In> implements Handler {
  readonly #env: FoldEnvironment<In>;
  readonly #own: Ownership;
  readonly #stores: Stores;
  readonly #committer: Committer;
  #fold: Fold<In> | undefined;
  #identity = new ChangeIdentity();
  #deduplicates = false;
  #logTime = 0n;
  #position = 0n;
  /** Timestamp of outputs, milliseconds: log time of what is being folded. */
  #outputs: OutRecord[] = [];
  #current: LogRecord | undefined;
  #currentLsn: bigint | null = null;

  constructor(ownership: Ownership, environment: FoldEnvironment<In>) {
    this.#env = environment;
    this.#own = ownership;
    this.#stores = new Stores(environment.processor.stores);
    this.#committer = new Committer(ownership, environment.settings, environment.metrics, environment.now);
  }

  async open(): Promise<bigint> {
    const { processor, now, metrics } = this.#env;
    const topic = changelogTopic(processor.name);
    const startedMs = now();
    const barrier = await writeBarrier(this.#own.writer, topic, this.#own.partition, startedMs);
    const { task } = await restore(this.#own, topic, barrier, ({ key, value }) =>
      this.#stores.load(key as Buffer, value),
    );
    if (task !== undefined) {
      this.#logTime = task.logTime;
      this.#identity = new ChangeIdentity(task.identity);
      this.#deduplicates = task.identity !== undefined;
    }
    this.#fold = processor.create(this.#context());
    this.#fold.restored?.();
    metrics.takenOver((now() - startedMs) / 1000);
    metrics.state(this.#stores.size);
    this.#position = this.#own.committed?.offset ?? this.#own.start;
    this.#committer.begin(this.#position);
    return this.#position;
  }

  async process(fetched: Fetched): Promise<void> {
    const { codecs, settings } = this.#env;
    await prepareDecoder(codecs.input, fetched.records, this.#own.signal, () => this.#commit());
    for (const raw of fetched.records) {
      this.#take(raw);
      this.#position = raw.offset + 1n;
      if (this.#committer.count(1) >= settings.commitRecords) await this.#commit();
    }
    this.#position = fetched.next;
    if (fetched.records.length === 0) this.#committer.count(0);
    this.#env.metrics.processed(fetched.records.length);
    this.#env.metrics.watermark(this.#logTime);
    if (this.#committer.due()) await this.#commit();
  }

  async tick(): Promise<void> {
    this.#committer.check();
    if (this.#committer.due()) await this.#commit();
  }

  /** A heartbeat that would change nothing is not taken, so that it need not be journalled for a replay to repeat it. */
  async beat(beat: Beat): Promise<void> {
    const fold = this.#opened();
    const deadline = fold.deadline?.();
    if (deadline === undefined || deadline > beat.logTime || beat.logTime <= this.#logTime) return;
    this.#current = undefined;
    this.#logTime = beat.logTime;
    fold.advance?.();
    const { codecs, processor } = this.#env;
    const entry = {
      kind: 'HEARTBEAT',
      topic: this.#own.topic,
      next_offset: this.#position,
      log_time: beat.logTime,
      heartbeat_offset: beat.offset,
    } as const;
    this.#outputs.push(this.#out(`${processor.name}.journal`, null, codecs.journal.encode(entry)));
    this.#committer.count(1);
    this.#env.metrics.watermark(this.#logTime);
    await this.#commit();
  }

  async close(): Promise<void> {
    await this.#commit();
    await this.#committer.settle();
  }

  #take(raw: LogRecord): void {
    const { processor, codecs } = this.#env;
    const fold = this.#opened();
    this.#current = raw;
    this.#currentLsn = null;
    try {
      if (raw.unreadable !== undefined) throw raw.unreadable;
      // A tombstone only tells compaction that the key is gone; the delete before it told us.
      if (raw.value === null) return;
      const { record, identity } = readInput(processor.input, this.#own, raw, codecs.input.decode(raw.value));
      this.#currentLsn = record.lsn;
      if (record.logTime > this.#logTime) this.#logTime = record.logTime;
      const deadline = fold.deadline?.();
      if (deadline !== undefined && deadline <= this.#logTime) fold.advance?.();
      if (identity !== undefined) {
        this.#deduplicates = true;
        if (!this.#identity.admit(identity.sequence, identity.operation, identity.primaryKey)) {
          this.#env.metrics.duplicate();
          fold.duplicate?.(record);
          return;
        }
      }
      fold.record(record);
    } catch (error) {
      this.#dead(error);
    }
  }

  /** @throws the error itself, if it is not about this record alone. */
  #dead(error: unknown): void {
    if (!(error instanceof MillraceError) || error.disposition !== 'deadLetter' || this.#current === undefined)
      throw error;
    const { processor, codecs, metrics } = this.#env;
    const { offset, timestamp, key, value } = this.#current;
    const letter = codecs.dead.encode({
      processor: processor.name,
      origin: { topic: this.#own.topic, partition: this.#own.partition, offset, timestamp },
      reason: error.code,
      error: error.message,
      key,
      value,
      schema_id: value !== null && value.length >= 5 && value[0] === 0 ? value.readInt32BE(1) : null,
      lsn: this.#currentLsn,
      attempts: 1,
    });
    this.#outputs.push({
      topic: `${processor.name}.dead`,
      partition: this.#own.partition,
      key: null,
      value: letter,
      timestamp,
    });
    metrics.deadLetter(error.code);
  }

  #context(): Context {
    const handler = this;
    const { processor, codecs, metrics } = this.#env;
    const late = `${processor.name}.late`;
    return {
      processor: { name: processor.name, version: processor.version },
      partition: this.#own.partition,
      get logTime() {
        return handler.#logTime;
      },
      store<V>(name: string): Store<V> {
        return handler.#stores.store<V>(name);
      },
      emit(topic, key, value) {
        const codec = codecs.outputs.get(topic);
        if (codec === undefined) throw new TypeError(`${processor.name} does not declare the output ${topic}`);
        if (topic === late) metrics.late();
        const keyBytes = key === null ? null : (codec.key?.encode(key) ?? null);
        handler.#outputs.push(handler.#out(topic, keyBytes, value === null ? null : codec.value.encode(value)));
      },
      dead(error) {
        handler.#dead(error);
      },
    };
  }

  #out(topic: string, key: Buffer | null, value: Buffer | null): OutRecord {
    return { topic, partition: this.#own.partition, key, value, timestamp: this.#logTime / 1000n };
  }

  #opened(): Fold<In> {
    if (this.#fold === undefined) throw new TypeError('the handler is not open');
    return this.#fold;
  }

  async #commit(): Promise<void> {
    await this.#committer.commit(this.#position, () => {
      const topic = changelogTopic(this.#env.processor.name);
      const { partition } = this.#own;
      const timestamp = this.#logTime / 1000n;
      const changes = this.#stores.takeChanges().map(({ key, value }) => ({ topic, partition, key, value, timestamp }));
      const state: TaskState = {
        logTime: this.#logTime,
        identity: this.#deduplicates ? this.#identity.snapshot() : undefined,
      };
      const outputs = this.#outputs;
      this.#outputs = [];
      this.#env.metrics.state(this.#stores.size);
      const gauges = this.#fold?.gauges?.();
      if (gauges !== undefined) this.#env.metrics.fold(gauges);
      return { outputs, changelog: [...changes, taskRecord(topic, partition, state, timestamp)] };
    });
  }
}
