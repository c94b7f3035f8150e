import type { Clock } from '../base/clock.ts';
import type { Fetched } from '../log/log.ts';

interface Lane {
  readonly items: Fetched[];
  records: number;
  bytes: number;
}

/**
 * How far a portion may go past the next record of another input, milliseconds of record timestamps. A backlog is fetched in portions of hours: taken
 * whole, they would put one input hours ahead of another. A finer cut would cost a journal entry for every few records.
 */
export const MERGE_SPAN_MS = 1_000n;

/** One reason for all: without one, each `abort` would make an error with a stack. */
const woken = 'woken';

function sizeOf(fetched: Fetched): number {
  return fetched.size ?? fetched.records.length;
}

function bytesOf(fetched: Fetched): number {
  if (fetched.bytes !== undefined) return fetched.bytes;
  let bytes = 0;
  for (const { key, value } of fetched.records) bytes += (key?.length ?? 0) + (value?.length ?? 0);
  return bytes;
}

/**
 * A task's fetched portions, oldest first for each input. It refuses nothing: the task looks at `records` and `bytes`, and stops fetching in time.
 */
export class Queue {
  readonly #lanes = new Map<string, Lane>();
  #waiting: AbortController | undefined;

  /** Of one input. */
  records(topic: string): number {
    return this.#lanes.get(topic)?.records ?? 0;
  }

  /** Memory that one input's portions take. */
  bytes(topic: string): number {
    return this.#lanes.get(topic)?.bytes ?? 0;
  }

  get empty(): boolean {
    for (const { items } of this.#lanes.values()) if (items.length > 0) return false;
    return true;
  }

  push(fetched: Fetched): void {
    let lane = this.#lanes.get(fetched.topic);
    if (lane === undefined) {
      lane = { items: [], records: 0, bytes: 0 };
      this.#lanes.set(fetched.topic, lane);
    }
    lane.items.push(fetched);
    lane.records += sizeOf(fetched);
    lane.bytes += bytesOf(fetched);
    this.wake();
  }

  /**
   * Of the oldest portion of each input the one whose first record has the earliest timestamp, up to where it is `MERGE_SPAN_MS` past the other
   * inputs' next records. A portion without records goes first.
   */
  shift(): Fetched | undefined {
    let chosen: Lane | undefined;
    let earliest: bigint | undefined;
    let second: bigint | undefined;
    for (const lane of this.#lanes.values()) {
      const head = lane.items[0];
      if (head === undefined) continue;
      // With one input there is nothing to compare: it is read when it is folded.
      const timestamp = this.#lanes.size === 1 ? 0n : (head.records[0]?.timestamp ?? -1n);
      if (earliest !== undefined && timestamp >= earliest) {
        if (second === undefined || timestamp < second) second = timestamp;
        continue;
      }
      second = earliest;
      earliest = timestamp;
      chosen = lane;
    }
    const fetched = chosen?.items.shift();
    if (chosen === undefined || fetched === undefined) return undefined;
    chosen.records -= sizeOf(fetched);
    chosen.bytes -= bytesOf(fetched);
    if (second === undefined) return fetched;
    const [now, later] = cut(fetched, second + MERGE_SPAN_MS);
    if (later !== undefined) {
      chosen.items.unshift(later);
      chosen.records += later.records.length;
      chosen.bytes += bytesOf(later);
    }
    return now;
  }

  wake(): void {
    this.#waiting?.abort(woken);
  }

  /** Resolves at the next `push` or `wake`, or after `timeoutMs`. One waiter at a time. */
  async wait(clock: Clock, timeoutMs: number): Promise<void> {
    const waiting = new AbortController();
    this.#waiting = waiting;
    await clock.sleep(timeoutMs, waiting.signal);
    if (this.#waiting === waiting) this.#waiting = undefined;
  }
}

/** The part of a portion before its first record that is past a timestamp, and the rest. */
function cut(fetched: Fetched, limit: bigint): readonly [Fetched, Fetched?] {
  const { topic, partition, from, next, records, end } = fetched;
  const place = records.findIndex(({ timestamp }) => timestamp > limit);
  const first = records[place];
  if (place <= 0 || first === undefined) return [fetched];
  return [
    { topic, partition, from, next: first.offset, records: records.slice(0, place), end },
    { topic, partition, from: first.offset, next, records: records.slice(place), end },
  ];
}
