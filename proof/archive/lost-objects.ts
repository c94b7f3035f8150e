import { DAY, parseTimestamp } from '../../core/values/time.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { LostObject } from '../report/report.ts';
import type { Files } from './files.ts';

/**
 * The lost objects of a topic. They are reported, and are no difference, because the log may still have a part of their rows. Rows that
 * Postgres still has are expected, because they can be captured again.
 */
export class LostObjects {
  readonly objects: readonly LostObject[];

  constructor(lost: Iterable<ArchiveObject>) {
    this.objects = Array.from(
      lost,
      ({ key, partition, day, first_offset: first, last_offset: last, rows, row_hash }) => {
        return { key, partition, day, offsets: { first, last }, rows, rowHash: row_hash };
      },
    );
  }

  /** Text to append to the subject of a check; empty if nothing is lost. */
  told(day: string | undefined): string {
    const own = this.of(day);
    const rows = own.reduce((sum, object) => sum + object.rows, 0n);
    return own.length === 0 ? '' : `, ${own.length} more are lost with ${rows} rows`;
  }

  of(day: string | undefined): readonly LostObject[] {
    return this.objects.filter((object) => day === undefined || object.day === day);
  }

  /** Creates the table `lost`: partition, first and last offset, and the bounds of the object's day. */
  async fill({ db }: Files): Promise<void> {
    await db.run('CREATE TABLE lost (p INTEGER, first BIGINT, last BIGINT, since BIGINT, until BIGINT)');
    for (const { partition, day, offsets } of this.objects) {
      const since = parseTimestamp(`${day}T00:00:00Z`);
      await db.run(
        `INSERT INTO lost VALUES (${partition}, ${offsets.first}, ${offsets.last}, ${since}, ${since + DAY})`,
      );
    }
  }

  /** Removes lost records that are not in `archived_rows` from `logged`. Returns their number. */
  async excuse(files: Files): Promise<number> {
    if (this.objects.length === 0) return 0;
    const excused = await files.query(`
      DELETE FROM logged l
       WHERE EXISTS (SELECT 1 FROM lost x WHERE x.p = l.p AND l.o BETWEEN x.first AND x.last AND l.t >= x.since AND l.t < x.until)
         AND NOT EXISTS (SELECT 1 FROM archived_rows a WHERE a.p = l.p AND a.o = l.o)
      RETURNING l.o`);
    return excused.length;
  }
}

/**
 * A condition on a row of `folded`: nothing was lost before the newest change of its key, so the archive must have its creation and every
 * deletion.
 */
export const nothingLostBefore =
  'NOT EXISTS (SELECT 1 FROM lost x WHERE x.p = folded.p AND x.first <= folded.row_offset)';
