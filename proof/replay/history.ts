import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/errors.ts';
import type { Log, LogRecord } from '../../core/runtime/log.ts';
import type { TaskState } from '../../core/state/changelog.ts';
import type { Change } from '../../core/state/keyed.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { JournalEntry } from '../../schemas/gen/journal_entry.ts';
import { readRaw } from '../topic.ts';
import { Reader } from './reader.ts';

/** One partition of a processor's life: what it took, in which order, as its journal has it. */
export interface History {
  readonly processor: string;
  readonly partition: number;
  /** Topics, the primary first. */
  readonly inputs: readonly string[];
  readonly base: Base;
  /** What the task has committed of each input: nothing after it is history. */
  readonly committed: ReadonlyMap<string, bigint>;
  /** Journal entries of the history: from its first one to the end as it was asked for. */
  readonly journal: { readonly from: bigint; readonly to: bigint };
}

/** Where a replay can begin: with empty state, or with the state of a snapshot. */
export interface Base {
  /** Position in the primary input. */
  readonly position: bigint;
  /** Where each output's partition ended then: what follows was published by this history. */
  readonly outputEnds: ReadonlyMap<string, bigint>;
  readonly task: TaskState | undefined;
  readonly state: readonly Change[];
  readonly from: 'the beginning' | 'a reset' | 'a snapshot';
}

/** What a task took next. `position` is where it was in the primary input after it. */
export type Step =
  | {
      readonly kind: 'records';
      readonly topic: string;
      readonly records: readonly LogRecord[];
      readonly position: bigint;
    }
  | { readonly kind: 'beat'; readonly logTime: bigint; readonly position: bigint }
  | {
      readonly kind: 'table';
      readonly topic: string;
      readonly partition: number;
      readonly records: readonly LogRecord[];
      readonly position: bigint;
    };

/**
 * Finds the last beginning of a task's history: the input's first record, or an operator's reset.
 *
 * @returns undefined when the task never committed anything.
 * @throws MillraceError REPLAY_IMPOSSIBLE when the beginning is not kept any more.
 */
export async function openHistory(
  log: Log,
  schemas: Schemas,
  at: Pick<History, 'processor' | 'partition' | 'inputs'>,
): Promise<History | undefined> {
  const { processor, partition, inputs } = at;
  const committed = new Map<string, bigint>();
  for (const topic of inputs) {
    const found = (await log.committed(`millrace.${processor}`, topic)).find((each) => each.partition === partition);
    if (found !== undefined) committed.set(topic, found.offset);
  }
  const primary = inputs[0] ?? '';
  const end = committed.get(primary);
  if (end === undefined) return undefined;
  const journalTopic = `${processor}.journal`;
  const [starts, ends] = await Promise.all([log.starts(journalTopic), log.ends(journalTopic)]);
  const journal = { from: starts[partition] ?? 0n, to: ends[partition] ?? 0n };
  let last: { readonly entry: JournalEntry; readonly offset: bigint } | undefined;
  for await (const { entry, offset } of readJournal(log, schemas, { processor, partition, ...journal })) {
    if (entry.kind === 'RESET') last = { entry, offset };
  }
  if (last !== undefined) {
    const { entry, offset } = last;
    const base: Base = {
      position: entry.next_offset,
      outputEnds: new Map(Object.entries(entry.output_ends ?? {})),
      task: undefined,
      state: [],
      from: 'a reset',
    };
    return { ...at, base, committed, journal: { from: offset + 1n, to: journal.to } };
  }
  for (const topic of inputs) await requireWhole(log, topic, partition);
  await requireWhole(log, journalTopic, partition);
  const base: Base = { position: 0n, outputEnds: new Map(), task: undefined, state: [], from: 'the beginning' };
  return { ...at, base, committed, journal };
}

async function requireWhole(log: Log, topic: string, partition: number): Promise<void> {
  const start = (await log.starts(topic))[partition] ?? 0n;
  if (start === 0n) return;
  throw new MillraceError(
    'REPLAY_IMPOSSIBLE',
    `${topic}/${partition} is kept from offset ${start} on, not from its beginning`,
    {
      remedy: 'replay from a snapshot: choose --from after it; or keep inputs and journals longer from now on',
    },
  );
}

/** The history in its order, up to and including what moved the primary input to `to`. */
export async function* steps(
  log: Log,
  schemas: Schemas,
  history: History,
  to: bigint,
  signal?: AbortSignal,
): AsyncGenerator<Step> {
  const { processor, partition, inputs, base, committed, journal } = history;
  const primary = inputs[0] ?? '';
  await using readers = new Readers(log, partition, committed, signal);
  let position = base.position;
  for await (const { entry } of readJournal(log, schemas, { processor, partition, ...journal })) {
    signal?.throwIfAborted();
    const { kind, topic, next_offset: next, from_offset: first, to_offset: end } = entry;
    if (next > to || next < base.position || (next === base.position && base.from === 'a snapshot')) continue;
    if (inputs.length === 1 && next > position) {
      for await (const records of readers.of(primary, position).until(next)) {
        yield { kind: 'records', topic: primary, records, position: (records.at(-1)?.offset ?? 0n) + 1n };
      }
    }
    position = next;
    if (kind === 'HEARTBEAT') yield { kind: 'beat', logTime: entry.log_time, position };
    else if (kind === 'TABLE') yield* table(log, entry, position, signal);
    else if (kind === 'RUN' && first !== null && end !== null) {
      for await (const records of readers.of(topic, first).until(end)) {
        yield { kind: 'records', topic, records, position };
      }
    }
  }
  if (inputs.length > 1) return;
  for await (const records of readers.of(primary, position).until(to)) {
    yield { kind: 'records', topic: primary, records, position: (records.at(-1)?.offset ?? 0n) + 1n };
  }
}

async function* table(log: Log, entry: JournalEntry, position: bigint, signal?: AbortSignal): AsyncGenerator<Step> {
  const { topic, partition, from_offset: from, to_offset: to } = entry;
  if (partition === null || from === null || to === null) return;
  for await (const { records } of readRaw(log, topic, signal, { partition, from, to })) {
    yield { kind: 'table', topic, partition, records, position };
  }
}

/** One reader for each input. A run begins where the one before it ended, or later, where only markers are between. */
class Readers implements AsyncDisposable {
  readonly #log: Log;
  readonly #partition: number;
  readonly #ends: ReadonlyMap<string, bigint>;
  readonly #signal: AbortSignal | undefined;
  readonly #readers = new Map<string, Reader>();

  constructor(log: Log, partition: number, ends: ReadonlyMap<string, bigint>, signal: AbortSignal | undefined) {
    this.#log = log;
    this.#partition = partition;
    this.#ends = ends;
    this.#signal = signal;
  }

  of(topic: string, from: bigint): Reader {
    let reader = this.#readers.get(topic);
    if (reader === undefined) {
      const at = { topic, partition: this.#partition };
      reader = new Reader(this.#log, at, from, this.#ends.get(topic) ?? from, this.#signal);
      this.#readers.set(topic, reader);
    }
    return reader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const reader of this.#readers.values()) await reader[Symbol.asyncDispose]();
  }
}

async function* readJournal(
  log: Log,
  schemas: Schemas,
  { processor, partition, from, to }: { processor: string; partition: number; from: bigint; to: bigint },
): AsyncGenerator<{ readonly entry: JournalEntry; readonly offset: bigint }> {
  const decoder = new AvroDecoder<JournalEntry>(schemas, contracts.journal_entry);
  for await (const { records } of readRaw(log, `${processor}.journal`, undefined, { partition, from, to })) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    for (const { value, offset } of records) if (value !== null) yield { entry: decoder.decode(value), offset };
  }
}
