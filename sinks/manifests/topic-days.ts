import { DAY, parseTimestamp } from '../../core/values/time.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchiveReplacement } from '../../schemas/gen/archive_replacement.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';

/** Most days that one step completes: it is one transaction. */
const daysPerStep = 500;

/** The days of one topic as they are committed, and what of its object records they take into account. */
export class TopicDays {
  readonly topic: ArchivedTopic;
  readonly #days = new Map<string, ArchivePartition>();
  /** Names of days that more rows are expected of. */
  readonly #open = new Set<string>();
  /** By partition of the objects topic: everything before is in manifests. */
  #positions: readonly bigint[];
  /** Of archive.replacements: everything of this topic before is in manifests. */
  #replacements = 0n;

  /** @param starts of the objects topic, by partition */
  constructor(topic: ArchivedTopic, starts: readonly bigint[], days: readonly ArchivePartition[]) {
    this.topic = topic;
    this.#positions = starts;
    for (const day of days) if (day.topic === topic) this.#set(day);
  }

  get positions(): readonly bigint[] {
    return this.#positions;
  }

  get replacements(): bigint {
    return this.#replacements;
  }

  /** Up to here no replacement is of this topic, so that nobody reads them again. */
  passReplacements(end: bigint): void {
    if (end > this.#replacements) this.#replacements = end;
  }

  get(day: string): ArchivePartition | undefined {
    return this.#days.get(day);
  }

  /** How many days are in each state. */
  count(): Readonly<Record<ArchivePartition['state'], number>> {
    const counts = { OPEN: 0, COMPLETE: 0, REOPENED: 0, EXPIRED: 0 };
    for (const { state } of this.#days.values()) counts[state]++;
    return counts;
  }

  /** What the newest manifests of all days list. */
  totals(): { readonly files: bigint; readonly bytes: bigint } {
    let [files, bytes] = [0n, 0n];
    for (const day of this.#days.values()) [files, bytes] = [files + day.files, bytes + day.bytes];
    return { files, bytes };
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
    if (day.state === 'COMPLETE' || day.state === 'EXPIRED') this.#open.delete(day.day);
    else this.#open.add(day.day);
    this.passReplacements(day.replacements);
    const partitions = Math.max(this.#positions.length, day.covers.length);
    this.#positions = Array.from({ length: partitions }, (_, i) => {
      const [had, has] = [this.#positions[i] ?? 0n, day.covers[i] ?? 0n];
      return has > had ? has : had;
    });
  }
}

/** What a step brings for a day. */
export interface DayChanges {
  readonly objects: readonly ArchiveObject[];
  readonly replacements: readonly ArchiveReplacement[];
}

/** By day, in order. */
export function byDay(
  objects: readonly ArchiveObject[],
  replacements: readonly ArchiveReplacement[],
): ReadonlyMap<string, DayChanges> {
  const days = new Map<string, { objects: ArchiveObject[]; replacements: ArchiveReplacement[] }>();
  const of = (day: string) => {
    const own = days.get(day) ?? { objects: [], replacements: [] };
    days.set(day, own);
    return own;
  };
  for (const object of objects) of(object.day).objects.push(object);
  for (const replacement of replacements) of(replacement.day).replacements.push(replacement);
  return new Map([...days].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** First microsecond after a day. */
function endOf(day: string): bigint {
  return parseTimestamp(`${day}T00:00:00Z`) + DAY;
}
