import type { MillraceError } from '../errors.ts';

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
  readonly input: Input<In>;
  readonly outputs: readonly Output[];
  readonly stores: readonly StoreDefinition[];
  /** A fresh fold for one partition. It keeps what it must not lose in its stores, anything else is derived in `restored`. */
  create(context: Context): Fold<In>;
}

export interface Input<In> {
  readonly topic: string;
  /** Avro reader schema: only these fields are decoded. */
  readonly schema: object;
  /**
   * How log time and identity are read from a record. `change`: a Debezium envelope (`op`, `source`, `before`, `after`), deduplicated by change
   * identity. `derived`: one of our own outputs; log time is the record's timestamp, and exactly-once needs no dedup.
   */
  readonly kind: 'change' | 'derived';
  /** For `change`: the row's primary key columns, part of a change's identity. */
  readonly primaryKey?: readonly string[];
  /** Type witness, never set. */
  readonly _value?: In;
}

export interface Output {
  readonly topic: string;
  /** Null for a topic without keys, such as a late topic. */
  readonly keySchema: object | null;
  readonly valueSchema: object;
}

export interface StoreDefinition {
  readonly name: string;
  /** Avro schema of the values; keys are strings. */
  readonly schema: object;
}

/** Keyed state of one task. `set` marks the entry for the next commit; a changed object must be `set` again. */
export interface Store<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
  entries(): IterableIterator<[string, V]>;
  readonly size: number;
}

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

/** What a fold may do. Output timestamps are the log time of what triggered them. */
export interface Context {
  readonly processor: { readonly name: string; readonly version: string };
  readonly partition: number;
  /** The task's log time, microseconds: greatest seen so far. 0n before the first record. */
  readonly logTime: bigint;
  store<V>(name: string): Store<V>;
  /** Emits to one of the declared outputs, or to the processor's own late topic. A null value is a tombstone. */
  emit(topic: string, key: object | null, value: object | null): void;
  /** Sends the record that is being folded to `<name>.dead` with the error's code as its reason. Only for disposition `deadLetter`. */
  dead(error: MillraceError): void;
}

export interface Fold<In> {
  /** State is restored; rebuild what is derived from it (heaps, indexes). Called once, before anything else. */
  restored?(): void;
  /**
   * Before this, `advance` has been called if `deadline()` was at or before the new log time.
   *
   * @throws MillraceError with disposition `deadLetter`, and before any state has changed, for a record that is bad.
   */
  record(record: InputRecord<In>): void;
  /** A change that was already folded, delivered again. */
  duplicate?(record: InputRecord<In>): void;
  /** Earliest log time (microseconds) at which `advance` would do something; undefined if never. Cheap: called per record. */
  deadline?(): bigint | undefined;
  /** Log time has reached `context.logTime`, at or past the deadline: close, emit, expire what is due at or before it. */
  advance?(): void;
  /** Gauges for operators, e.g. open windows: shown as `millrace_fold{gauge=…}` with every commit. */
  gauges?(): Readonly<Record<string, number>>;
}

/** Checks a declaration once, at definition, and freezes it. */
export function defineProcessor<In>(processor: Processor<In>): Processor<In> {
  if (!/^[a-z][a-z0-9-]*$/.test(processor.name)) {
    throw new TypeError(
      `a processor's name is lower-case letters, digits and dashes, not ${JSON.stringify(processor.name)}`,
    );
  }
  const stores = new Set(processor.stores.map((store) => store.name));
  if (stores.size !== processor.stores.length) throw new TypeError(`${processor.name}: two stores have the same name`);
  return Object.freeze(processor);
}
