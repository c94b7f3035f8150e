import { tables } from '../../core/archive/rows/tables.ts';
import type { ColumnValue, TypedColumn } from '../../core/values/rowhash/rowhash.ts';
import { formatDay } from '../../core/values/time.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';

/**
 * Rows that were given up with their days: the log and Postgres may have them still. Objects of a partition are listed in the order of offsets,
 * so what came later for such a day has greater ones, and is expected as ever.
 */
export class GivenUp {
  /** By partition and day, the greatest offset. */
  readonly #last = new Map<string, bigint>();
  readonly #days: readonly string[];
  readonly #topic: ArchivedTopic;

  constructor(topic: ArchivedTopic, expired: Iterable<ArchiveObject>) {
    this.#topic = topic;
    const days = new Set<string>();
    for (const { partition, day, last_offset } of expired) {
      days.add(day);
      const id = `${partition}/${day}`;
      const last = this.#last.get(id);
      if (last === undefined || last_offset > last) this.#last.set(id, last_offset);
    }
    this.#days = [...days].sort();
  }

  get nothing(): boolean {
    return this.#last.size === 0;
  }

  hasRow(partition: number, offset: bigint, day: string): boolean {
    const last = this.#last.get(`${partition}/${day}`);
    return last !== undefined && offset <= last;
  }

  /** @param row values in the order of the columns */
  has(partition: number, offset: bigint, columns: readonly TypedColumn[], row: readonly ColumnValue[]): boolean {
    if (this.nothing) return false;
    const value = (name: string) => row[columns.findIndex((column) => column.name === name)];
    const { eventTime } = tables[this.#topic];
    const time = (eventTime === null ? null : value(eventTime)) ?? value('_source_time') ?? null;
    return time !== null && this.hasRow(partition, offset, formatDay(time as bigint));
  }

  /** An SQL condition, of Postgres and DuckDB, that a time is of no day of which something was given up. */
  keeps(time: string): string {
    const days = this.#days.map(
      (day) => `(${time} >= '${day} 00:00:00+00' AND ${time} < '${day} 00:00:00+00'::timestamptz + interval '1 day')`,
    );
    return days.length === 0 ? 'true' : `NOT (${days.join(' OR ')})`;
  }
}
