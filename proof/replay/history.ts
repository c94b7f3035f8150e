import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Log, LogRecord } from '../../core/log/log.ts';
import { readSnapshot, type Snapshot } from '../../core/state/changelog/snapshots.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { JournalEntry } from '../../schemas/gen/journal_entry.ts';
import { readRaw } from '../reading/topic.ts';
import { ReplayReader } from './reader.ts';

/** One partition of a processor's history: its inputs in the order of its journal. */
export interface TaskHistory {
  readonly processor: string;
  readonly partition: number;
  /** Topics, the primary first. */
  readonly inputs: readonly string[];
  readonly base: Base;
  /** Committed position of each input: later records are not history. */
  readonly committed: ReadonlyMap<string, bigint>;
  /** Journal range of the history: from its first entry to the end at the time of the request. */
  readonly journal: { readonly from: bigint; readonly to: bigint };
}

/** A point where a replay can begin: with empty state, or with the state of a snapshot. */
export interface Base {
  /** Position in the primary input. */
  readonly position: bigint;
  /** End of each output's partition at that point; this history published all that follows. Empty: the history begins with the topics. */
  readonly outputEnds: ReadonlyMap<string, bigint>;
  /** Set if the replay begins with a snapshot's state. */
  readonly snapshot: Snapshot | undefined;
}

/** The next input of a task. `position` is its position in the primary input afterwards. */
export type HistoryEntry =
  | {
      readonly kind: 'records';
      readonly topic: string;
      readonly records: readonly LogRecord[];
      readonly position: bigint;
    }
  | { readonly kind: 'beat'; readonly logTime: bigint; readonly position: bigint }
  /** The task used these settings from here on, JSON. */
  | { readonly kind: 'settings'; readonly text: string; readonly position: bigint }
  | {
      readonly kind: 'table';
      readonly topic: string;
      readonly partition: number;
      readonly records: readonly LogRecord[];
      readonly position: bigint;
    };

/** The requested history and range. */
export interface HistoryQuery extends Pick<TaskHistory, 'processor' | 'partition' | 'inputs'> {
  readonly version: string;
  /** With a snapshot, records of the primary input before this offset need no replay. */
  readonly from: bigint | undefined;
}

/**
 * Finds the start of a replay: the newest snapshot that is not beyond the requested range. Without one it is the latest start of the task's
 * history: the first record of the input, or an operator's reset.
 *
 * @returns undefined if the task never committed anything
 * @throws MillraceError REPLAY_IMPOSSIBLE: the start is no longer kept
 */
export async function openHistory(
  log: Log,
  schemas: Schemas,
  { version, from, ...at }: HistoryQuery,
): Promise<TaskHistory | undefined> {
  const { processor, partition, inputs } = at;
  const committed = new Map<string, bigint>();
  for (const topic of inputs) {
    const found = (await log.committed(`millrace.${processor}`, topic)).find((each) => each.partition === partition);
    if (found !== undefined) committed.set(topic, found.offset);
  }
  const primary = inputs[0] ?? '';
  const end = committed.get(primary);
  if (end === undefined) return undefined;
  const snapshot =
    from === undefined || from === 0n
      ? undefined
      : await readSnapshot(log, { processor, version, partition, topic: primary, atMost: from });
  const journalTopic = `${processor}.journal`;
  const [starts, ends] = await Promise.all([log.starts(journalTopic), log.ends(journalTopic)]);
  const journal = { from: starts[partition] ?? 0n, to: ends[partition] ?? 0n };
  if (snapshot !== undefined) {
    const base: Base = { position: snapshot.positions.get(primary) ?? 0n, outputEnds: new Map(), snapshot };
    return { ...at, base, committed, journal };
  }
  let last: { readonly entry: JournalEntry; readonly offset: bigint } | undefined;
  for await (const { entry, offset } of readJournal(log, schemas, { processor, partition, ...journal })) {
    if (entry.kind === 'RESET') last = { entry, offset };
  }
  if (last !== undefined) {
    const { entry, offset } = last;
    const base: Base = {
      position: entry.next_offset,
      outputEnds: new Map(Object.entries(entry.output_ends ?? {})),
      snapshot: undefined,
    };
    return { ...at, base, committed, journal: { from: offset + 1n, to: journal.to } };
  }
  for (const topic of inputs) await requireWhole(log, topic, partition);
  await requireWhole(log, journalTopic, partition);
  const base: Base = { position: 0n, outputEnds: new Map(), snapshot: undefined };
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

/** The history in order, up to and including the entry that moved the primary input to `to`. */
export async function* steps(
  log: Log,
  schemas: Schemas,
  history: TaskHistory,
  to: bigint,
  signal?: AbortSignal,
): AsyncGenerator<HistoryEntry> {
  const { processor, partition, inputs, base, committed, journal } = history;
  const primary = inputs[0] ?? '';
  await using readers = new Readers(log, partition, committed, signal);
  let position = base.position;
  for await (const { entry } of readJournal(log, schemas, { processor, partition, ...journal })) {
    signal?.throwIfAborted();
    const { kind, topic, next_offset: next, from_offset: first, to_offset: end } = entry;
    if (next > to || next < base.position || (base.snapshot !== undefined && isIn(base.snapshot, entry))) continue;
    if (inputs.length === 1 && next > position) {
      for await (const records of readers.of(primary, position).until(next)) {
        yield { kind: 'records', topic: primary, records, position: (records.at(-1)?.offset ?? 0n) + 1n };
      }
    }
    position = next;
    if (kind === 'HEARTBEAT') yield { kind: 'beat', logTime: entry.log_time, position };
    else if (kind === 'SETTINGS') yield { kind: 'settings', text: entry.settings ?? '{}', position };
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

/** Whether the snapshot's state already includes an entry. */
function isIn({ task, positions }: Snapshot, entry: JournalEntry): boolean {
  const { kind, topic, log_time: logTime, partition, to_offset: end } = entry;
  switch (kind) {
    case 'HEARTBEAT':
      return logTime <= task.logTime;
    case 'RUN':
      return (end ?? 0n) <= (positions.get(topic) ?? 0n);
    case 'TABLE':
      return (end ?? 0n) <= (task.tables[topic]?.[partition ?? 0] ?? 0n);
    case 'SETTINGS':
      return (entry.ordinal ?? 0) <= (task.settings?.ordinal ?? 0);
    case 'RESET':
      return true;
  }
}

async function* table(
  log: Log,
  entry: JournalEntry,
  position: bigint,
  signal?: AbortSignal,
): AsyncGenerator<HistoryEntry> {
  const { topic, partition, from_offset: from, to_offset: to } = entry;
  if (partition === null || from === null || to === null) return;
  for await (const { records } of readRaw(log, topic, signal, { partition, from, to })) {
    yield { kind: 'table', topic, partition, records, position };
  }
}

/** One reader for each input. A run begins at the end of the previous one, or later if only markers are between. */
class Readers implements AsyncDisposable {
  readonly #log: Log;
  readonly #partition: number;
  readonly #ends: ReadonlyMap<string, bigint>;
  readonly #signal: AbortSignal | undefined;
  readonly #readers = new Map<string, ReplayReader>();

  constructor(log: Log, partition: number, ends: ReadonlyMap<string, bigint>, signal: AbortSignal | undefined) {
    this.#log = log;
    this.#partition = partition;
    this.#ends = ends;
    this.#signal = signal;
  }

  of(topic: string, from: bigint): ReplayReader {
    let reader = this.#readers.get(topic);
    if (reader === undefined) {
      const at = { topic, partition: this.#partition };
      reader = new ReplayReader(this.#log, at, from, this.#ends.get(topic) ?? from, this.#signal);
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
