import { DAY, parseTimestamp } from '../../core/values/time.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchiveReplacement } from '../../schemas/gen/archive_replacement.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';

/** Most days that one step completes, since a step is one transaction. */
const daysPerStep = 500;

/** The committed days of one topic, and the positions up to which they cover its object records. */
export class TopicDays {
  readonly topic: ArchivedTopic;
  readonly #days = new Map<string, ArchivePartition>();
  /** Days that are not complete. */
  readonly #open = new Set<string>();
  /** Positions in the objects topic, by partition: manifests cover all records before them. */
  #positions: readonly bigint[];
  /** Position in archive.replacements: manifests cover all of this topic's records before it. */
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

  /** Skips replacements before `end`, none of which is of this topic, so that they are not read again. */
  passReplacements(end: bigint): void {
    if (end > this.#replacements) this.#replacements = end;
  }

  get(day: string): ArchivePartition | undefined {
    return this.#days.get(day);
  }

  /** Number of days in each state. */
  count(): Readonly<Record<ArchivePartition['state'], number>> {
    const counts = { OPEN: 0, COMPLETE: 0, REOPENED: 0, EXPIRED: 0 };
    for (const { state } of this.#days.values()) counts[state]++;
    return counts;
  }

  /** Files and bytes in the newest manifests of all days. */
  totals(): { readonly files: bigint; readonly bytes: bigint } {
    let [files, bytes] = [0n, 0n];
    for (const day of this.#days.values()) [files, bytes] = [files + day.files, bytes + day.bytes];
    return { files, bytes };
  }

  /**
   * The newly complete days, oldest first: they ended by `through` and got no object in this step.
   *
   * @param through log time, microseconds
   */
  due(through: bigint, touched: ReadonlyMap<string, unknown>): readonly ArchivePartition[] {
    const due = [...this.#open].filter((name) => !touched.has(name) && endOf(name) <= through).sort();
    return due.slice(0, daysPerStep).map((name) => this.#days.get(name) as ArchivePartition);
  }

  /** Called after a step's commit, with the days as committed. */
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

/** The changes that a step brings to a day. */
export interface DayChanges {
  readonly objects: readonly ArchiveObject[];
  readonly replacements: readonly ArchiveReplacement[];
}

/** Changes by day, in order. */
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
