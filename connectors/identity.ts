/** What the captured tables must tell about each change. */
import type { Client } from 'pg';
import { MillraceError } from '../core/errors.ts';
import { capturedTables } from './recapture/tables.ts';

/**
 * Without REPLICA IDENTITY FULL an update does not tell what the row was before, nor a long value that it did not touch.
 *
 * @throws MillraceError CONFIG_INVALID naming the tables
 */
export async function requireWholeRows(db: Pick<Client, 'query'>): Promise<void> {
  const { rows } = await db.query<{ name: string }>(
    `SELECT name FROM unnest($1::text[]) AS name JOIN pg_class ON oid = to_regclass(name) WHERE relreplident <> 'f'`,
    [capturedTables.map(({ name }) => name)],
  );
  if (rows.length === 0) return;
  const names = rows.map(({ name }) => name);
  throw new MillraceError('CONFIG_INVALID', `${names.join(', ')}: updates do not tell the whole row`, {
    remedy: names.map((name) => `ALTER TABLE ${name} REPLICA IDENTITY FULL;`).join(' '),
  });
}
