/** Column types of a table, from the catalog. */
import type { Client } from 'pg';
import type { ColumnType } from './kind.ts';

/** Extensions whose types Debezium supports. */
const extensions = "'citext', 'hstore', 'ltree'";

function label(type: string): string {
  return `CASE WHEN ${type}.typtype = 'e' THEN 'enum'
               WHEN ${type}.typname IN (${extensions}) AND ${type}.typtype = 'b' THEN ${type}.typname::text
               ELSE format_type(${type}.oid, -1) END`;
}

/** Column types by column name, in table order. @param table name with schema */
export async function columnTypes(db: Pick<Client, 'query'>, table: string): Promise<ReadonlyMap<string, ColumnType>> {
  const { rows } = await db.query<{ name: string; type: string; modifier: number }>(
    `WITH RECURSIVE based AS (
       SELECT attname, attnum, atttypid AS type, atttypmod AS modifier FROM pg_attribute
        WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
       UNION ALL
       SELECT attname, attnum, typbasetype, typtypmod FROM based JOIN pg_type ON oid = type WHERE typtype = 'd')
     SELECT attname AS name, modifier,
            CASE WHEN element.oid IS NULL THEN ${label('whole')} ELSE ${label('element')} || '[]' END AS type
       FROM based JOIN pg_type whole ON whole.oid = based.type
       LEFT JOIN pg_type element ON element.oid = whole.typelem AND whole.typcategory = 'A'
      WHERE whole.typtype <> 'd' ORDER BY attnum`,
    [table],
  );
  return new Map(rows.map(({ name, type, modifier }) => [name, { type, modifier }]));
}
