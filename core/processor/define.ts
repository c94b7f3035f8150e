import type { MillraceError } from '../base/errors.ts';

/**
 * A processor is a declaration around a pure, synchronous fold. The runtime owns iteration, time, state, commits and errors; the fold
 * decides what a record means. Inside a fold there is no wall clock, no randomness, no I/O and no `await`: the same records and
 * heartbeats in the same order give the same outputs, in production, in a test and in a replay.
 */
export interface Processor<In> {
  /** Names the group, the changelog, the journal, and the late and dead topics. */
  readonly name: string;
  /** Goes into each output's provenance. Change it when the meaning of outputs changes. */
  readonly version: string;
  /**
   * Co-partitioned: a task reads the same partition of each. The first is the primary one: it names the task. The order in which a task
   * takes records of several inputs is in its journal.
   */
  readonly inputs: readonly [Input<In>, ...Input<In>[]];
  /** Topics that each task reads whole, whatever its own partition: rules, small reference tables. */
  readonly tables?: readonly Table[];
  readonly outputs: readonly Output[];
  readonly stores: readonly StoreDefinition<In>[];
  /**
   * Keyed timers of the fold (`context.timers`). `stored`: they are state, in a store called `timers`, and survive restarts by themselves. `derived`: they
   * are in memory only, and the fold sets them again in `restored`; for a fold whose stores say when each key is due, it saves a changelog record per
   * key and commit. Default: none.
   */
  readonly timers?: 'stored' | 'derived';
  /** How long input has to be kept so that what a fold reads again is there, milliseconds. Compared with the topic's retention at start. */
  readonly inputRetentionMs?: number;
  /** Declare what the processor was made with if it decides results: it is journalled whenever it changes, and a replay repeats it. */
  readonly settings?: Settings<In>;
  /**
   * When the fold throws an unforeseen error for one record, or an output or state value of it does not fit its schema (ENCODE_FAILED). `stop`, the
   * default: the process ends with FOLD_FAILED or ENCODE_FAILED, and no effect of the record is committed. `deadLetter`: the record goes to
   * `<name>.dead` with that code. All that its `record`, `duplicate`, `backfilled` or `table` has set, emitted and asked to read again is undone, and the
   * fold is made anew from its stores. Log time, timers that were due before the record, and its identity stay. An error of `advance` stops always: it
   * would come back with each record.
   */
  readonly onError?: 'stop' | 'deadLetter';
  /** A fresh fold for one partition. It keeps what it must not lose in its stores, anything else is derived in `restored`. */
  create(context: Context<In>): Fold<In>;
}

/** What a processor was made with. */
export interface Settings<In> {
  /** As JSON has it. */
  readonly value: object;
  /** The processor with another value, as a journal has it. @throws MillraceError CONFIG_INVALID */
  remake(value: never): Processor<In>;
}

/** Whether a processor was made with the settings of a journal, also if those have former names that `remake` still takes. */
export function isMadeWith<In>({ value, remake }: Settings<In>, text: string): boolean {
  const own = JSON.stringify(value);
  if (text === own) return true;
  try {
    return JSON.stringify(remake(JSON.parse(text) as never).settings?.value) === own;
  } catch {
    // Settings that cannot be made any more are other ones.
    return false;
  }
}

/** A topic that a processor reads, and how. */
export interface Input<In> {
  readonly topic: string;
  /** Avro reader schema: only these fields are decoded. */
  readonly schema: object;
  /**
   * How log time and identity are read from a record. `change`: a Debezium envelope (`op`, `source`, `before`, `after`), deduplicated by change
   * identity; rows of a backfill are not folded. `derived`: one of our own outputs; log time is the record's timestamp, and exactly-once needs no dedup.
   */
  readonly kind: 'change' | 'derived';
  /** For `change`: the row's primary key columns, part of a change's identity. */
  readonly primaryKey?: readonly string[];
  /** Type witness, never set. */
  readonly _value?: In;
}

/** A topic that each task reads whole, whatever its partition. */
export interface Table {
  readonly topic: string;
  /** Avro reader schemas. */
  readonly keySchema: object;
  readonly schema: object;
}

/** A topic that a processor writes, and how. */
export interface Output {
  readonly topic: string;
  /** Null for a topic without keys, such as a late topic. */
  readonly keySchema: object | null;
  readonly valueSchema: object;
  /**
   * An explicit repartition: records go to the partition that these values are routed to, as trades are by venue and symbol. Default: the
   * task's own partition, so that each partition has one writer.
   */
  readonly partitionBy?: (key: object) => readonly string[];
}

/** Keyed state that a processor declares. */
export interface StoreDefinition<In = never> {
  readonly name: string;
  /** Avro schema of the values; keys are strings. */
  readonly schema: object;
  /** Of the schema. Default 1. */
  readonly version?: number;
  /** By version N: its schema, and how a value of it becomes one of version N + 1. State of a version without one is refused. */
  readonly migrations?: Readonly<Record<number, { readonly schema: object; migrate(old: unknown): unknown }>>;
  /** Entries that were not set for so long, in log time, are deleted. Milliseconds. Default: never. */
  readonly ttlMs?: number;
  /** Keeps the store on disk, for more than fits memory. `keys` are those that a record needs: they are fetched ahead. */
  readonly disk?: { keys(record: InputRecord<In>): readonly string[] };
}

/**
 * Keyed state of one task. `set` marks the entry for the next commit; a changed object must be `set` again. A store on disk has no
 * `entries`: it throws a TypeError.
 */
export interface Store<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
  entries(): IterableIterator<[string, V]>;
  readonly size: number;
}

/**
 * Timers in log time, one for each key. They fire in the order of (`at`, key), whenever they were set. With `onError: 'deadLetter'` what a failed record
 * set or deleted is undone.
 */
export interface Timers {
  /**
   * Sets the key's timer, in place of one that it has. It fires once, when log time reaches `at`; one whose time has come already, before the next
   * record or at the next heartbeat, and within `onTimer` as the next one.
   *
   * @param at log time, microseconds
   * @throws MillraceError BAD_RECORD beyond ±2^53, TypeError unless the processor declares `timers`
   */
  set(key: string, at: bigint): void;
  /** When the key's timer fires; undefined without one. */
  get(key: string): bigint | undefined;
  /** No-op without a timer. */
  delete(key: string): void;
  readonly size: number;
}

/** A record of an input, decoded, with where and when it was in the log. */
export interface InputRecord<In> {
  readonly value: In;
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** Log time of this record itself, microseconds: commit time (`change`) or record timestamp (`derived`). */
  readonly logTime: bigint;
  /** Log sequence number in Postgres; null for `derived` input. */
  readonly lsn: bigint | null;
}

/** A record of a table. */
export interface TableRecord<K = unknown, V = unknown> {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: K;
  /** Null: the key is gone. */
  readonly value: V | null;
}

/** A part of one partition of the task's own input: offsets [from, to). */
export interface Range {
  readonly topic: string;
  readonly from: bigint;
  readonly to: bigint;
}

/** What a fold may do. Output timestamps are the log time of what triggered them. */
export interface Context<In = unknown> {
  readonly processor: { readonly name: string; readonly version: string };
  readonly partition: number;
  /** The task's log time, microseconds: greatest seen so far. 0n before the first record. */
  readonly logTime: bigint;
  store<V>(name: string): Store<V>;
  /** For a processor that declares `timers`. */
  readonly timers: Timers;
  /** Emits to one of the declared outputs, or to the processor's own late topic. A null value is a tombstone. */
  emit(topic: string, key: object | null, value: object | null): void;
  /** Sends the record that is being folded to `<name>.dead` with the error's code as its reason. Only for disposition `deadLetter`. */
  dead(error: MillraceError): void;
  /**
   * Asks for the task's own input again: when the current `record` or `table` has returned, and before the next one, `visit` gets each readable record of
   * the range in its order (duplicates included; bad ones, backfilled rows and those redriven for others left out), then `done` is called. Both may
   * emit and change stores. Only in `record` and `table`. The range ends at or before the current record's offset + 1, in `table` at or before the
   * task's position, so it is the same in every run. A record of a table whose range the log has deleted has no effect.
   */
  reread(range: Range, visit: (record: InputRecord<In>) => void, done: () => void): void;
  /** From the next record on, `visit` gets each one of the topic before it is folded, as `reread` would give it; until the returned function is called. */
  follow(topic: string, visit: (record: InputRecord<In>) => void): () => void;
}

/** What one partition's records mean. All calls are synchronous and never overlap. */
export interface Fold<In> {
  /** State is restored; rebuild what is derived from it (`derived` timers, indexes). Called once, before anything else. */
  restored?(): void;
  /**
   * Before this, `advance` has been called if `deadline()` was at or before the new log time, then `onTimer` for each timer that was.
   *
   * @throws MillraceError with disposition `deadLetter`, and before any state has changed, for a record that is bad.
   */
  record(record: InputRecord<In>): void;
  /** A change that was already folded, delivered again. */
  duplicate?(record: InputRecord<In>): void;
  /** A row that a backfill has read again: how it is, and no change of it. It is never folded, and log time stays where it is. */
  backfilled?(record: InputRecord<In>): void;
  /**
   * A record of a table. It comes between two records of the input; where is in the journal. At a task's first start the tables come before the first
   * record. After a restart they are not read again: keep in stores what is needed.
   */
  table?(record: TableRecord): void;
  /**
   * A timer has come: log time is at or past `at`, microseconds, and the key has no timer any more. Timers that are set here for a time that has come fire
   * in the same turn, in their order: one that always does so never ends.
   */
  onTimer?(key: string, at: bigint): void;
  /** Earliest log time (microseconds) at which `advance` would do something; undefined if never. Cheap: called per record. */
  deadline?(): bigint | undefined;
  /**
   * Log time has reached `context.logTime`, at or past the deadline: close, emit, expire what is due at or before it.
   *
   * @param by the input whose record brought the time, or undefined for a heartbeat. Only at a heartbeat have all inputs been read up to the time; a
   *   record of one says nothing about the others.
   */
  advance?(by?: string): void;
  /** Gauges for operators, e.g. open windows: shown as `millrace_fold{gauge=…}` with every commit. */
  gauges?(): Readonly<Record<string, number>>;
}

/** Where `stored` timers are: the log time of each, by key. */
export const timerStore: StoreDefinition = { name: 'timers', schema: { type: 'long' } };

/** Checks a declaration once, at definition, and freezes it. */
export function defineProcessor<In>(declared: Processor<In>): Processor<In> {
  const processor = withTimers(declared);
  if (!/^[a-z][a-z0-9-]*$/.test(processor.name)) {
    throw new TypeError(
      `a processor's name is lower-case letters, digits and dashes, not ${JSON.stringify(processor.name)}`,
    );
  }
  const topics = new Set([...processor.inputs, ...(processor.tables ?? [])].map(({ topic }) => topic));
  if (topics.size !== processor.inputs.length + (processor.tables?.length ?? 0)) {
    throw new TypeError(`${processor.name}: a topic is an input or a table twice`);
  }
  const stores = new Set(processor.stores.map((store) => store.name));
  if (stores.size !== processor.stores.length) throw new TypeError(`${processor.name}: two stores have the same name`);
  return Object.freeze(processor);
}

/** `stored` timers are one of the stores: changelog, snapshots, replays and `millrace state` have them as they have all state. */
function withTimers<In>(processor: Processor<In>): Processor<In> {
  const { timers, stores } = processor;
  if (timers !== 'stored' || stores.includes(timerStore)) return processor;
  return { ...processor, stores: [...stores, timerStore] };
}
