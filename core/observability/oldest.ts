import type { Gauge } from 'prom-client';

/**
 * Since when the oldest record of each partition waits, as each who tells of it says. The age is computed when it is asked for, so it grows
 * while whoever reports hangs.
 */
export class Oldest {
  readonly #topics = new Map<string, Map<string, number | undefined>>();

  /**
   * @param partition or a name for who tells and the partition
   * @param logTimeMs of the oldest record that waits, milliseconds since the epoch; undefined when none does.
   */
  set(topic: string, partition: number | string, logTimeMs: number | undefined): void {
    const partitions = this.#topics.get(topic) ?? new Map<string, number | undefined>();
    partitions.set(String(partition), logTimeMs);
    this.#topics.set(topic, partitions);
  }

  /** The partition has another owner now. */
  forget(topic: string, partition: number | string): void {
    const partitions = this.#topics.get(topic);
    partitions?.delete(String(partition));
    if (partitions?.size === 0) this.#topics.delete(topic);
  }

  /** One value per topic, in seconds: its worst partition. */
  show(gauge: Gauge<'topic'>, nowMs: number): void {
    gauge.reset();
    for (const [topic, partitions] of this.#topics) {
      const known = [...partitions.values()].filter((at) => at !== undefined);
      gauge.set({ topic }, known.length === 0 ? 0 : Math.max(0, nowMs - Math.min(...known)) / 1000);
    }
  }
}
