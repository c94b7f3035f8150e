import type { JournalEntry } from '../../../schemas/gen/journal_entry.ts';
import type { Range } from '../../processor/define.ts';
import type { JournalledSettings } from '../../state/changelog/changelog.ts';
import type { Beat } from '../handler.ts';

/**
 * The journal of one task: whatever decides an output and is not in an input partition itself, in the order in which it happened, written
 * in the same transaction as the outputs. A replay follows it.
 *
 * With one input the input's own order is the order of records, and only heartbeats, tables and settings are journalled, each
 * with the position it came at. With several, the runs of records are entries, too.
 */
export class Journal {
  readonly #primary: string;
  readonly #several: boolean;
  #entries: JournalEntry[] = [];

  /** @param inputs topics, the primary first. */
  constructor(inputs: readonly string[]) {
    this.#primary = inputs[0] ?? '';
    this.#several = inputs.length > 1;
  }

  /** Records of an input were taken. */
  ran({ topic, from, to }: Range, at: Place): void {
    if (!this.#several || from === to) return;
    const last = this.#entries.at(-1);
    if (last?.kind === 'RUN' && last.topic === topic) {
      this.#entries.pop();
      this.#push({ ...last, to_offset: to }, at);
    } else {
      this.#push({ ...empty, kind: 'RUN', topic, from_offset: from, to_offset: to }, at);
    }
  }

  beat({ offset }: Beat, at: Place): void {
    this.#push({ ...empty, kind: 'HEARTBEAT', topic: this.#primary, heartbeat_offset: offset }, at);
  }

  /** Records of a table were taken. Those that follow each other with nothing between are one entry. */
  table({ topic, from, to }: Range, partition: number, at: Place): void {
    const last = this.#entries.at(-1);
    const goesOn = last?.topic === topic && last.partition === partition && last.to_offset === from;
    if (last?.kind === 'TABLE' && goesOn && last.next_offset === at.next) {
      this.#entries.pop();
      this.#push({ ...last, to_offset: to }, at);
      return;
    }
    this.#push({ ...empty, kind: 'TABLE', topic, partition, from_offset: from, to_offset: to }, at);
  }

  /** From here on the task works with other settings. */
  settings({ text, ordinal }: JournalledSettings, at: Place): void {
    this.#push({ ...empty, kind: 'SETTINGS', topic: this.#primary, settings: text, ordinal }, at);
  }

  /** The entries since the last call. */
  take(): readonly JournalEntry[] {
    const entries = this.#entries;
    this.#entries = [];
    return entries;
  }

  #push(entry: Omit<JournalEntry, 'next_offset' | 'log_time'>, { next, logTime }: Place): void {
    this.#entries.push({ ...entry, next_offset: next, log_time: logTime });
  }
}

/** Where a task is after what is journalled. */
interface Place {
  /** Position in the primary input. */
  readonly next: bigint;
  /** Microseconds. */
  readonly logTime: bigint;
}

const empty = {
  heartbeat_offset: null,
  partition: null,
  from_offset: null,
  to_offset: null,
  output_ends: null,
  settings: null,
  ordinal: null,
} as const;

/** The entry of a reset: the state was dropped, and the primary input is read on from `next`. */
export function resetEntry(topic: string, next: bigint, outputEnds: Readonly<Record<string, bigint>>): JournalEntry {
  return { ...empty, kind: 'RESET', topic, next_offset: next, log_time: 0n, output_ends: outputEnds };
}
