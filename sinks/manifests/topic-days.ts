import { DAY, parseTimestamp } from '../../core/time.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';

/** Most days that one step completes: it is one transaction. */
const daysPerStep = 500;

/** The days of one topic as they are committed, and what of its object records they take into account. */
export class TopicDays {
  readonly topic: ArchivedTopic;
  readonly #days = new Map<string, ArchivePartition>();
  /** Names of days that are not complete. */
  readonly #open = new Set<string>();
  /** By partition of the objects topic: everything before is in manifests. */
  #positions: readonly bigint[];

  /** @param starts of the objects topic, by partition */
  constructor(topic: ArchivedTopic, starts: readonly bigint[], days: readonly ArchivePartition[]) {
    this.topic = topic;
    this.#positions = starts;
    for (const day of days) if (day.topic === topic) this.#set(day);
  }

  get positions(): readonly bigint[] {
    return this.#positions;
  }

  get(day: string): ArchivePartition | undefined {
    return this.#days.get(day);
  }

  /** How many days are in each state. */
  count(): Readonly<Record<ArchivePartition['state'], number>> {
    const counts = { OPEN: 0, COMPLETE: this.#days.size - this.#open.size, REOPENED: 0 };
    for (const name of this.#open) if (this.#days.get(name)?.state === 'REOPENED') counts.REOPENED++;
    return { ...counts, OPEN: this.#open.size - counts.REOPENED };
  }

  /**
   * The days that are complete now, the oldest first: those that ended by `through`, and got no object in this step.
   *
   * @param through microseconds
   */
  due(through: bigint, touched: ReadonlyMap<string, unknown>): readonly ArchivePartition[] {
    const due = [...this.#open].filter((name) => !touched.has(name) && endOf(name) <= through).sort();
    return due.slice(0, daysPerStep).map((name) => this.#days.get(name) as ArchivePartition);
  }

  /** A step is committed. */
  committed(days: readonly ArchivePartition[]): void {
    for (const day of days) this.#set(day);
  }

  #set(day: ArchivePartition): void {
    this.#days.set(day.day, day);
    if (day.state === 'COMPLETE') this.#open.delete(day.day);
    else this.#open.add(day.day);
    const partitions = Math.max(this.#positions.length, day.covers.length);
    this.#positions = Array.from({ length: partitions }, (_, i) => {
      const [had, has] = [this.#positions[i] ?? 0n, day.covers[i] ?? 0n];
      return has > had ? has : had;
    });
  }
}

/** By day, in order. */
export function byDay(objects: readonly ArchiveObject[]): ReadonlyMap<string, readonly ArchiveObject[]> {
  const days = new Map<string, ArchiveObject[]>();
  for (const object of objects) {
    const own = days.get(object.day);
    if (own === undefined) days.set(object.day, [object]);
    else own.push(object);
  }
  return new Map([...days].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** First microsecond after a day. */
function endOf(day: string): bigint {
  return parseTimestamp(`${day}T00:00:00Z`) + DAY;
}
