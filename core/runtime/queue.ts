import type { Clock } from '../clock.ts';
import type { Fetched } from './log.ts';

interface Lane {
  readonly items: Fetched[];
  records: number;
}

function sizeOf(fetched: Fetched): number {
  return fetched.size ?? fetched.records.length;
}

/**
 * A task's fetched portions, oldest first for each input. Who fills it looks at `records` and stops in time; it refuses nothing itself.
 */
export class Queue {
  readonly #lanes = new Map<string, Lane>();
  #waiting: AbortController | undefined;

  /** Of one input. */
  records(topic: string): number {
    return this.#lanes.get(topic)?.records ?? 0;
  }

  get empty(): boolean {
    for (const { items } of this.#lanes.values()) if (items.length > 0) return false;
    return true;
  }

  push(fetched: Fetched): void {
    let lane = this.#lanes.get(fetched.topic);
    if (lane === undefined) {
      lane = { items: [], records: 0 };
      this.#lanes.set(fetched.topic, lane);
    }
    lane.items.push(fetched);
    lane.records += sizeOf(fetched);
    this.wake();
  }

  /** Of the oldest portion of each input the one whose first record has the earliest timestamp. A portion without records goes first. */
  shift(): Fetched | undefined {
    let chosen: Lane | undefined;
    let earliest: bigint | undefined;
    for (const lane of this.#lanes.values()) {
      const head = lane.items[0];
      if (head === undefined) continue;
      // With one input there is nothing to compare: it is read when it is folded.
      const timestamp = this.#lanes.size === 1 ? 0n : (head.records[0]?.timestamp ?? -1n);
      if (earliest !== undefined && timestamp >= earliest) continue;
      earliest = timestamp;
      chosen = lane;
    }
    const fetched = chosen?.items.shift();
    if (chosen !== undefined && fetched !== undefined) chosen.records -= sizeOf(fetched);
    return fetched;
  }

  wake(): void {
    this.#waiting?.abort();
  }

  /** Resolves at the next `push` or `wake`, or after `timeoutMs`. One waiter at a time. */
  async wait(clock: Clock, timeoutMs: number): Promise<void> {
    const waiting = new AbortController();
    this.#waiting = waiting;
    await clock.sleep(timeoutMs, waiting.signal);
    if (this.#waiting === waiting) this.#waiting = undefined;
  }
}
