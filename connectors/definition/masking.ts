/** Connector settings for masked columns, and the columns that must not be masked. */
import type { Client } from 'pg';
import { MillraceError } from '../../core/base/errors.ts';
import type { Mask, Masks } from '../../core/capture/masks.ts';
import { capturedTables } from '../recapture/rows/tables.ts';
import type { ConnectorConfig } from './definition.ts';

/** Debezium takes regular expressions and matches them against the whole name. */
export function maskSettings({ list, secret }: Masks): ConnectorConfig {
  const settings: Record<string, string> = {};
  for (const mask of list) {
    const key =
      mask.asterisks === null
        ? `column.mask.hash.v2.SHA-256.with.salt.${secret}`
        : `column.mask.with.${mask.asterisks}.chars`;
    const name = `${mask.table}.${mask.column}`.replaceAll('.', '\\.');
    settings[key] = settings[key] === undefined ? name : `${settings[key]},${name}`;
  }
  return settings;
}

const texts = new Set(['text', 'character varying', 'character']);

/**
 * Checks that each masked column exists and is text. Debezium ignores any other column and publishes it unmasked.
 *
 * @throws MillraceError CONFIG_INVALID: names the column.
 */
export async function requireMaskable(db: Pick<Client, 'query'>, { list }: Masks): Promise<void> {
  for (const mask of list) {
    const reason = unmaskable(mask) ?? (await notText(db, mask));
    if (reason === undefined) continue;
    throw new MillraceError('CONFIG_INVALID', `capture.masks: ${mask.table}.${mask.column} ${reason}`, {
      remedy: 'Take it out of capture.masks, or leave the column out of the table.',
    });
  }
}

function unmaskable({ table, column }: Mask): string | undefined {
  const captured = capturedTables.find(({ name }) => name === table);
  if (captured === undefined) return 'is of no captured table';
  if (captured.primaryKey.includes(column) || captured.key.includes(column)) {
    return 'is part of a key: rows could not be told apart, and would go to other partitions';
  }
  return column === captured.eventTime ? 'is the event time' : undefined;
}

async function notText(db: Pick<Client, 'query'>, { table, column }: Mask): Promise<string | undefined> {
  const { rows } = await db.query<{ type: string }>(
    `SELECT format_type(atttypid, NULL) AS type FROM pg_attribute
      WHERE attrelid = to_regclass($1) AND attname = $2 AND attnum > 0 AND NOT attisdropped`,
    [table, column],
  );
  const type = rows[0]?.type;
  if (type === undefined) return 'is not there';
  return texts.has(type) ? undefined : `is ${type}: only texts can be masked`;
}
