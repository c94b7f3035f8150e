/** Values that Postgres stores and Debezium cannot write: its task fails on them, and a recapture would fail too. */
import type { Client } from 'pg';
import { quoted } from '../../../core/values/sql.ts';
import type { CapturedTable } from '../rows/tables.ts';
import { columnTypes } from './catalog.ts';

interface Unwritable {
  /** Description of the value. */
  readonly what: string;
  readonly condition: (column: string) => string;
}

const special = "'NaN', 'Infinity', '-Infinity'";
const withNull: Unwritable = {
  what: 'an array with a NULL in it',
  condition: (column) => `array_position(${column}, NULL) IS NOT NULL`,
};
const any = (type: string): Unwritable => ({
  what: `a value of type ${type}`,
  condition: (column) => `${column} IS NOT NULL`,
});

const byType: Readonly<Record<string, Unwritable>> = {
  numeric: { what: 'NaN or an infinity', condition: (column) => `${column} IN (${special})` },
  'numeric[]': {
    what: 'NaN or an infinity',
    condition: (column) => `${column} && ARRAY[${special}]::numeric[]`,
  },
  'enum[]': withNull,
  'tsvector[]': withNull,
  '"bit"[]': any('bit[]'),
  'ltree[]': any('ltree[]'),
};

export interface UnwritableRows {
  readonly table: string;
  readonly column: string;
  readonly what: string;
  /** SQL keys of some of the rows; empty when none was found. */
  readonly rows: readonly string[];
}

const shown = 5;

/**
 * Finds rows with such values, by column.
 *
 * @param only the column to search. Default: all columns whose type has such values, unless the table checks them.
 */
export async function findUnwritable(
  db: Pick<Client, 'query'>,
  table: CapturedTable,
  only?: string,
): Promise<readonly UnwritableRows[]> {
  const found: UnwritableRows[] = [];
  for (const [column, { type }] of await columnTypes(db, table.name)) {
    const unwritable = byType[type];
    if (unwritable === undefined || (only === undefined ? table.checked.includes(column) : column !== only)) continue;
    const { what, condition } = unwritable;
    const { rows } = await db.query<{ key: string }>(
      `SELECT ${keyText(table)} AS key FROM ${table.name} WHERE ${condition(quoted(column))} LIMIT ${shown}`,
    );
    if (rows.length > 0 || only !== undefined) {
      found.push({ table: table.name, column, what, rows: rows.map(({ key }) => key) });
    }
  }
  return found;
}

/** SQL expression of the key, e.g. `(venue, symbol) = ('v', 's')`. */
export function keyText({ primaryKey }: CapturedTable): string {
  const values = primaryKey.map((name) => `quote_literal(${quoted(name)})`);
  return `'(${primaryKey.join(', ')}) = (' || ${values.join(` || ', ' || `)} || ')'`;
}
