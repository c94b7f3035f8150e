import { tables } from '../../core/archive/rows/tables.ts';
import type { ColumnValue, TypedColumn } from '../../core/values/rowhash/rowhash.ts';
import { formatDay } from '../../core/values/time.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';

/**
 * Rows that expired with their days. The log and Postgres may still have them. Objects of a partition are listed in offset order. So later
 * records for such a day have greater offsets, and are expected.
 */
export class GivenUp {
  /** Greatest expired offset by partition and day. */
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

  /** An SQL condition for Postgres and DuckDB: nothing of the time's day has expired. */
  keeps(time: string): string {
    const days = this.#days.map(
      (day) => `(${time} >= '${day} 00:00:00+00' AND ${time} < '${day} 00:00:00+00'::timestamptz + interval '1 day')`,
    );
    return days.length === 0 ? 'true' : `NOT (${days.join(' OR ')})`;
  }
}
