import { DAY, parseTimestamp } from '../core/values/time.ts';
import type { ArchiveObject } from '../schemas/gen/archive_object.ts';
import type { Files } from './archive/files.ts';
import type { LostObject } from './report/report.ts';

/**
 * What of a topic is lost for good. It is told, and no difference: the log may have a part of the rows still. What Postgres has of them is
 * expected as ever, since it can be read again.
 */
export class Lost {
  readonly objects: readonly LostObject[];

  constructor(lost: Iterable<ArchiveObject>) {
    this.objects = Array.from(
      lost,
      ({ key, partition, day, first_offset: first, last_offset: last, rows, row_hash }) => {
        return { key, partition, day, offsets: { first, last }, rows, rowHash: row_hash };
      },
    );
  }

  /** Text that follows what was compared; empty when nothing is lost. */
  told(day: string | undefined): string {
    const own = this.of(day);
    const rows = own.reduce((sum, object) => sum + object.rows, 0n);
    return own.length === 0 ? '' : `, ${own.length} more are lost with ${rows} rows`;
  }

  of(day: string | undefined): readonly LostObject[] {
    return this.objects.filter((object) => day === undefined || object.day === day);
  }

  /** Makes the table `lost`: partition, first and last offset, and from when to when the rows are of the object's day. */
  async fill({ db }: Files): Promise<void> {
    await db.run('CREATE TABLE lost (p INTEGER, first BIGINT, last BIGINT, since BIGINT, until BIGINT)');
    for (const { partition, day, offsets } of this.objects) {
      const since = parseTimestamp(`${day}T00:00:00Z`);
      await db.run(
        `INSERT INTO lost VALUES (${partition}, ${offsets.first}, ${offsets.last}, ${since}, ${since + DAY})`,
      );
    }
  }

  /** Takes out of `logged` what was lost and is not in `archived_rows`. Returns how many records. */
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
 * A condition on a row of `folded`: nothing was lost before the newest change of its key, so that its creation and every deletion must be in
 * the archive.
 */
export const nothingLostBefore =
  'NOT EXISTS (SELECT 1 FROM lost x WHERE x.p = folded.p AND x.first <= folded.row_offset)';
