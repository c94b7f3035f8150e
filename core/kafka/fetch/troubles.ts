import type { MillraceError } from '../../base/errors.ts';
import { partitionId, type TopicPartition } from '../../log/log.ts';

const firstWaitMs = 50;
const longestWaitMs = 1_000;
/** Longer than the election of a new leader takes, also for a broker that ends without a word. */
const toleratedMs = 20_000;

interface Trouble {
  readonly error: MillraceError;
  readonly sinceMs: number;
  readonly waitMs: number;
  readonly retryAtMs: number;
}

/** Partitions that cannot be fetched just now, each with its backoff. */
export class Troubles {
  readonly #troubles = new Map<string, Trouble>();

  note(at: TopicPartition, error: MillraceError): void {
    const before = this.#troubles.get(partitionId(at));
    const now = performance.now();
    const waitMs = before === undefined ? firstWaitMs : Math.min(before.waitMs * 2, longestWaitMs);
    this.#troubles.set(partitionId(at), { error, sinceMs: before?.sinceMs ?? now, waitMs, retryAtMs: now + waitMs });
  }

  clear(at: TopicPartition): void {
    this.#troubles.delete(partitionId(at));
  }

  /** Milliseconds until the partition is to be asked for again; 0 or less is now. */
  waitMs(at: TopicPartition): number {
    return (this.#troubles.get(partitionId(at))?.retryAtMs ?? 0) - performance.now();
  }

  /** @throws MillraceError for a trouble that lasts: once, then its time begins anew */
  check(positions: readonly TopicPartition[]): void {
    for (const at of positions) {
      const trouble = this.#troubles.get(partitionId(at));
      if (trouble === undefined || performance.now() - trouble.sinceMs < toleratedMs) continue;
      this.clear(at);
      throw trouble.error;
    }
  }
}
