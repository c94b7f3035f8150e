import { type ErrorOrigin, MillraceError, undefinedIfDeadLetter } from '../../base/errors.ts';
import { ChangeIdentity } from '../../capture/identity.ts';
import { partitionOf } from '../../capture/routing.ts';
import type { LogRecord, OutRecord, TopicPartition } from '../../log/log.ts';
import { redrivenOf } from '../../log/redriven.ts';
import {
  type Context,
  type Fold,
  type Input,
  type InputRecord,
  type Processor,
  type Range,
  type Store,
  type TableRecord,
  timerStore,
} from '../../processor/define.ts';
import type { TaskState } from '../../state/changelog/changelog.ts';
import { Staging } from '../../state/stores/staging.ts';
import type { Stores } from '../../state/stores/stores.ts';
import type { Codecs } from './codecs.ts';
import { deadLetter } from './dead-letter.ts';
import { foldFailure, isAboutRecord } from './fold-failure.ts';
import { type ReadInput, readInput } from './input.ts';
import { TaskTimers } from './timers.ts';

/** Records whose state on disk is read ahead together. */
const fetchRecords = 256;

/** Answers between two turns of the event loop: what is known already is answered without I/O, and heartbeats have to get through a crowd. */
const answersPerTurn = 32;

/** What operators see of an engine's work. */
export interface EngineMetrics {
  duplicate(): void;
  backfilled(): void;
  late(): void;
  deadLetter(reason: string): void;
}

/** No-op metrics. */
export const unmetered: EngineMetrics = {
  duplicate: () => undefined,
  backfilled: () => undefined,
  late: () => undefined,
  deadLetter: () => undefined,
};

export interface EngineOptions<In> {
  readonly processor: Processor<In>;
  readonly codecs: Codecs<In>;
  readonly partition: number;
  readonly metrics: EngineMetrics;
  /** Partition count of an output that is repartitioned. */
  readonly partitionsOf: (topic: string) => number;
  /** Reads a range of the task's own input again, with its schemas prepared. */
  readonly read: (range: Range) => AsyncIterable<readonly LogRecord[]>;
  /** Lets others of the process have their turn. */
  readonly turn: () => Promise<void>;
}

/**
 * A processor at work on one partition, without a log: records, heartbeats and table records go in, in the order that the journal repeats;
 * outputs and state changes come out. Decodes, recognises duplicates, advances log time, folds. Nothing else decides a result, so a replay
 * through another engine gives the same.
 *
 * Not its job: fetching, committing, restoring, journalling.
 */
export class Engine<In> {
  readonly stores: Stores;
  readonly #options: EngineOptions<In>;
  readonly #inputs: ReadonlyMap<string, Input<In>>;
  readonly #identities = new Map<string, ChangeIdentity>();
  /** With `onError: 'deadLetter'`: what the current record has changed. */
  readonly #staging: Staging | undefined;
  readonly #timers: TaskTimers;
  #fold: Fold<In>;
  #logTime: bigint;
  #outputs: OutRecord[] = [];
  /** Outputs from here on are the current record's own. */
  #mark = 0;
  /** What is being folded: where a dead letter would come from. */
  #current: (TopicPartition & { readonly raw: LogRecord; lsn: bigint | null }) | undefined;
  #rereads: Reread<In>[] = [];
  #answers = 0;
  readonly #followers = new Set<Follower<In>>();

  /** @param stores restored, as is `task`. */
  constructor(options: EngineOptions<In>, stores: Stores, task: TaskState | undefined) {
    const { processor } = options;
    this.#options = options;
    this.stores = stores;
    this.#inputs = new Map(processor.inputs.map((input) => [input.topic, input]));
    this.#logTime = task?.logTime ?? 0n;
    for (const [topic, seen] of Object.entries(task?.identities ?? {})) {
      const input = this.#inputs.get(topic);
      if (input !== undefined) this.#identities.set(topic, new ChangeIdentity(input.primaryKey ?? [], seen));
    }
    stores.advance(this.#logTime);
    this.#staging = processor.onError === 'deadLetter' ? new Staging(stores) : undefined;
    const timers = processor.timers === 'stored' ? this.#store<bigint>(timerStore.name) : undefined;
    this.#timers = new TaskTimers(processor, timers);
    this.#fold = this.#restored();
  }

  #store<V>(name: string): Store<V> {
    return (this.#staging ?? this.stores).store<V>(name);
  }

  #restored(): Fold<In> {
    const { processor } = this.#options;
    this.#timers.restore();
    const fold = processor.create(this.#context());
    if (processor.timers !== undefined && fold.onTimer === undefined) {
      throw new TypeError(`${processor.name} declares timers, and its fold has no onTimer`);
    }
    fold.restored?.();
    this.#keep();
    return fold;
  }

  /** Microseconds. */
  get logTime(): bigint {
    return this.#logTime;
  }

  get identities(): TaskState['identities'] {
    return Object.fromEntries([...this.#identities].map(([topic, identity]) => [topic, identity.snapshot()]));
  }

  get gauges(): Readonly<Record<string, number>> | undefined {
    return this.#fold.gauges?.();
  }

  /** Outputs, late and dead records since the last call, in the order of emission. */
  takeOutputs(): readonly OutRecord[] {
    const outputs = this.#outputs;
    this.#outputs = [];
    return outputs;
  }

  /** Folds records of one input, in order. Their schemas are prepared. Waits only for state on disk and for what is read again. */
  async fold(topic: string, records: readonly LogRecord[]): Promise<void> {
    const input = this.#input(topic);
    if (this.stores.fetches) return this.#foldFetched(input, records);
    for (const raw of records) {
      this.#take(input, raw);
      if (this.#rereads.length > 0) await this.#readAgain();
    }
  }

  /** A heartbeat. False if it would change nothing: then it was not taken, so that a replay need not repeat it. */
  beat(logTime: bigint): boolean {
    const advances = this.#advances(logTime);
    if (logTime <= this.#logTime || !(advances || this.#timers.isDue(logTime))) return false;
    this.#current = undefined;
    this.#advance(logTime);
    this.#fire(advances);
    return true;
  }

  /** State first: what has outlived its time to live is gone for whatever happens at this log time. */
  #advance(logTime: bigint): void {
    this.#logTime = logTime;
    this.stores.advance(logTime);
  }

  /** Output records that wait for `takeOutputs`. */
  get pending(): number {
    return this.#outputs.length;
  }

  /** Records of a table, in order. Their schemas are prepared. Waits only for what is read again. */
  async table(at: TopicPartition, records: readonly LogRecord[]): Promise<void> {
    const codec = this.#options.codecs.tables.get(at.topic);
    if (codec === undefined) throw new TypeError(`${at.topic} is no table of ${this.#options.processor.name}`);
    for (const raw of records) {
      this.#current = { ...at, raw, lsn: null };
      try {
        if (raw.unreadable !== undefined) throw raw.unreadable;
        if (raw.key === null) throw new MillraceError('BAD_RECORD', 'a record of a table needs a key');
        const key = codec.key.decode(raw.key);
        const value = raw.value === null ? null : codec.value.decode(raw.value);
        this.#attempt(() => this.#fold.table?.({ ...at, offset: raw.offset, key, value } satisfies TableRecord));
      } catch (error) {
        this.#dead(error);
      }
      if (this.#rereads.length > 0) await this.#readAgain();
    }
  }

  /** With state on disk: what a portion needs of it is read ahead, so records are decoded before the first one is folded. */
  async #foldFetched(input: Input<In>, records: readonly LogRecord[]): Promise<void> {
    for (let at = 0; at < records.length; at += fetchRecords) {
      const portion = records.slice(at, at + fetchRecords).map((raw) => ({ raw, ahead: this.#readAhead(input, raw) }));
      await this.stores.fetch(portion.flatMap(({ ahead }) => ahead.read?.record ?? []));
      for (const { raw, ahead } of portion) {
        this.#take(input, raw, ahead);
        if (this.#rereads.length > 0) await this.#readAgain();
      }
    }
  }

  #readAhead(input: Input<In>, raw: LogRecord): Ahead<In> {
    try {
      return { read: this.#read(input, raw) };
    } catch (error) {
      return { error };
    }
  }

  /** @param ahead what reading the record gave, if it was read ahead. */
  #take(input: Input<In>, raw: LogRecord, ahead?: Ahead<In>): void {
    const current = { topic: input.topic, partition: this.#options.partition, raw, lsn: null as bigint | null };
    this.#current = current;
    const redriven = redrivenOf(raw.headers);
    if (this.#isOthers(redriven)) {
      this.#options.metrics.duplicate();
      return;
    }
    try {
      if (ahead?.error !== undefined) throw ahead.error;
      const read = ahead === undefined ? this.#read(input, raw) : ahead.read;
      if (read === undefined) return;
      const { record, change, backfilled } = read;
      current.lsn = record.lsn;
      // Its time is that of the reading, by Kafka Connect's clock: what is read after it may be older, and would be late.
      if (backfilled) {
        this.#options.metrics.backfilled();
        this.#attempt(() => this.#fold.backfilled?.(record));
        return;
      }
      if (record.logTime > this.#logTime) this.#advance(record.logTime);
      this.#fire(this.#advances(this.#logTime), input.topic);
      // A redriven record was never folded, although its position is behind those that were.
      const isNew = change === undefined || redriven !== undefined || this.#identity(input).admit(change);
      if (!isNew) this.#options.metrics.duplicate();
      this.#attempt(() => {
        for (const follower of this.#followers) if (follower.topic === input.topic) follower.visit(record);
        if (isNew) this.#fold.record(record);
        else this.#fold.duplicate?.(record);
      });
    } catch (error) {
      this.#dead(error);
    }
  }

  /** Whether the fold's own deadline is due at this log time. */
  #advances(logTime: bigint): boolean {
    const deadline = this.#fold.deadline?.();
    return deadline !== undefined && deadline <= logTime;
  }

  /** Calls what is due: `advance` of the fold, then its timers. @throws MillraceError FOLD_FAILED */
  #fire(advances: boolean, by?: string): void {
    const logTime = this.#logTime;
    if (advances) this.#call('advance', () => this.#fold.advance?.(by));
    if (!this.#timers.isDue(logTime)) return;
    this.#call('onTimer', () => this.#timers.fire(logTime, (key, at) => this.#fold.onTimer?.(key, at)));
  }

  #call(what: 'advance' | 'onTimer', part: () => void): void {
    try {
      part();
      this.#keep();
    } catch (error) {
      throw foldFailure(error, this.#origin(), what);
    }
  }

  /** Folds the current record. Its effects stay when it and all that it asked to read again has been folded. */
  #attempt(part: () => void): void {
    this.#mark = this.#outputs.length;
    this.#run(() => {
      part();
      if (this.#rereads.length === 0) this.#keep();
    });
  }

  /** False if it has thrown, and the current record was put aside. */
  #run(part: () => void, reading = false): boolean {
    try {
      part();
      return true;
    } catch (error) {
      this.#undo(foldFailure(error, this.#origin(), 'record'), reading);
      return false;
    }
  }

  /** All effects up to here stay. */
  #keep(): void {
    this.#staging?.keep();
    this.#timers.keep();
  }

  /**
   * Puts the current record aside, without a trace of what its fold did.
   *
   * @param reading its fold has returned, and the input was being read again: the fold's memory has changed
   * @throws `failure`, unless the declaration wants that
   */
  #undo(failure: MillraceError, reading: boolean): void {
    const staging = this.#staging;
    if (staging === undefined || !isAboutRecord(failure)) throw failure;
    const changed = staging.changed || this.#timers.changed;
    const untouched = !reading && !changed && this.#outputs.length === this.#mark && this.#rereads.length === 0;
    staging.drop();
    this.#outputs.length = this.#mark;
    this.#rereads = [];
    // A refusal comes before any change: what the fold keeps in memory is right.
    if (failure.disposition !== 'deadLetter' || !untouched) {
      this.#followers.clear();
      this.#fold = this.#restored();
    }
    this.#letter(failure);
  }

  #origin(): ErrorOrigin {
    const { processor, partition } = this.#options;
    const { topic = processor.inputs[0].topic, raw } = this.#current ?? {};
    return {
      processor: processor.name,
      topic,
      partition: this.#current?.partition ?? partition,
      offset: raw?.offset ?? null,
    };
  }

  /** Undefined for a tombstone: it only tells compaction that the key is gone; the delete before it told us. */
  #read(input: Input<In>, raw: LogRecord): ReadInput<In> | undefined {
    if (raw.unreadable !== undefined) throw raw.unreadable;
    const { value } = raw;
    if (value === null) return undefined;
    const decoder = this.#options.codecs.inputs.get(input.topic);
    if (decoder === undefined) throw new TypeError(`no decoder for ${input.topic}`);
    return readInput(input, this.#options.partition, raw, decoder.decode(value));
  }

  async #readAgain(): Promise<void> {
    const rereads = this.#rereads;
    this.#rereads = [];
    for (const { range, visit, done } of rereads) {
      const input = this.#input(range.topic);
      if (++this.#answers % answersPerTurn === 0) await this.#options.turn();
      if (range.from < range.to) {
        for await (const records of this.#options.read(range)) {
          for (const raw of records) {
            const record = this.#readable(input, raw);
            if (record !== undefined && !this.#run(() => visit(record), true)) return;
          }
        }
      }
      if (!this.#run(done, true)) return;
    }
    this.#run(() => this.#keep(), true);
  }

  /** Redriven for another processor: this one has had it. */
  #isOthers(redriven: ReturnType<typeof redrivenOf>): boolean {
    return redriven !== undefined && redriven.processor !== this.#options.processor.name;
  }

  /** A bad record has become a dead letter when it was folded: reading it again says nothing new. */
  #readable(input: Input<In>, raw: LogRecord): InputRecord<In> | undefined {
    if (this.#isOthers(redrivenOf(raw.headers))) return undefined;
    const read = undefinedIfDeadLetter(() => this.#read(input, raw));
    return read?.backfilled === true ? undefined : read?.record;
  }

  #input(topic: string): Input<In> {
    const input = this.#inputs.get(topic);
    if (input === undefined) throw new TypeError(`${topic} is no input of ${this.#options.processor.name}`);
    return input;
  }

  #identity({ topic, primaryKey }: Input<In>): ChangeIdentity {
    let identity = this.#identities.get(topic);
    if (identity === undefined) {
      identity = new ChangeIdentity(primaryKey ?? []);
      this.#identities.set(topic, identity);
    }
    return identity;
  }

  /** @throws the error itself, if it is not about this record alone. */
  #dead(error: unknown): void {
    if (!(error instanceof MillraceError) || error.disposition !== 'deadLetter') throw error;
    this.#letter(error);
  }

  #letter(error: MillraceError): void {
    if (this.#current === undefined) throw error;
    const { processor, codecs, metrics, partition } = this.#options;
    const { topic, raw, lsn } = this.#current;
    const at = { topic, partition: this.#current.partition };
    const letter = deadLetter(codecs.dead, { processor: processor.name, at, record: raw, error, lsn });
    this.#outputs.push({ ...letter, partition });
    metrics.deadLetter(error.code);
  }

  #emit(topic: string, key: object | null, value: object | null): void {
    const { processor, codecs, metrics, partition, partitionsOf } = this.#options;
    const codec = codecs.outputs.get(topic);
    if (codec === undefined) throw new TypeError(`${processor.name} does not declare the output ${topic}`);
    if (codec.late) metrics.late();
    const { partitionBy } = codec;
    this.#outputs.push({
      topic,
      partition:
        partitionBy === undefined || key === null ? partition : partitionOf(partitionBy(key), partitionsOf(topic)),
      key: key === null ? null : (codec.key?.encode(key) ?? null),
      value: value === null ? null : codec.value.encode(value),
      timestamp: this.#logTime / 1000n,
    });
  }

  #context(): Context<In> {
    const engine = this;
    const { processor, partition } = this.#options;
    return {
      processor: { name: processor.name, version: processor.version },
      partition,
      get logTime() {
        return engine.#logTime;
      },
      store<V>(name: string): Store<V> {
        return engine.#store<V>(name);
      },
      timers: this.#timers,
      emit(topic, key, value) {
        engine.#emit(topic, key, value);
      },
      dead(error) {
        engine.#dead(error);
      },
      reread(range, visit, done) {
        engine.#rereads.push({ range, visit, done });
      },
      follow(topic, visit) {
        const follower = { topic, visit };
        engine.#followers.add(follower);
        return () => engine.#followers.delete(follower);
      },
    };
  }
}

interface Reread<In> {
  readonly range: Range;
  readonly visit: (record: InputRecord<In>) => void;
  readonly done: () => void;
}

interface Follower<In> {
  readonly topic: string;
  readonly visit: (record: InputRecord<In>) => void;
}

interface Ahead<In> {
  readonly read?: ReadInput<In> | undefined;
  readonly error?: unknown;
}
