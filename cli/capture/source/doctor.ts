/** Findings of `millrace doctor` about the captured database. */
import type { Config } from '../../../core/base/config.ts';
import { isError } from '../../../core/base/errors.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import type { DoctorFinding } from '../../../infra/local/machine/doctor.ts';
import { definitionOf, sourceState } from '../capture.ts';

/** One row if everything is captured or no part can be asked; otherwise one for each finding. */
export async function sourceRows(config: Config): Promise<readonly DoctorFinding[]> {
  const what = 'capture';
  try {
    await using db = await connectPostgres({
      url: config.postgres.url,
      name: 'millrace doctor',
      connectTimeoutMs: 3000,
    });
    const { findings, record, source } = await sourceState(db, config, await definitionOf(config));
    const begun = source.publication !== undefined || record.seen !== undefined;
    if (!begun) return [{ what, state: 'ok', found: 'the database has no publication yet: nothing to check' }];
    const rows: DoctorFinding[] = findings.map(({ effect, cause, remedy, loses }) => ({
      what,
      state: effect === 'weak' ? 'warning' : 'failed',
      found: cause,
      remedy: loses ? `${remedy} Then: millrace connectors recapture` : remedy,
    }));
    for (const [table, { since }] of Object.entries(record.parked ?? {})) {
      const remedy = `millrace connectors unpark ${table}`;
      rows.push({ what, state: 'failed', found: `${table} is parked since ${since}: it is not captured`, remedy });
    }
    return rows.length > 0 ? rows : [{ what, state: 'ok', found: 'publication, tables and rights are correct' }];
  } catch (error) {
    // A machine where nothing runs yet, or where another Postgres has the port, needs no fix.
    if (isError(error, 'POSTGRES_UNREACHABLE') || isError(error, 'POSTGRES_REFUSED'))
      return [{ what, state: 'ok', found: `not checked: ${error.message}` }];
    throw error;
  }
}
