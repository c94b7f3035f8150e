/** Columns of captured tables that the capture, or a later recapture, cannot write correctly. */
import type { Client } from 'pg';
import { isError } from '../../core/base/errors.ts';
import { valueSubject } from '../../schemas/topics.ts';
import { columnTypes } from '../recapture/columns/catalog.ts';
import { typeName } from '../recapture/columns/kind.ts';
import { kinds } from '../recapture/columns/kinds.ts';
import { type RefusedColumn, rowColumns } from '../recapture/columns/row.ts';
import type { CaptureSchemas } from '../recapture/rows/opened.ts';
import { capturedTables, topicOf } from '../recapture/rows/tables.ts';

export interface ColumnTrouble extends RefusedColumn {
  /** Table name with schema. */
  readonly table: string;
}

const remedy =
  'Use a type of the table in docs/reference/capture/column-types.md, in a column of another name, and drop this one.';

const failing = new Set(['"bit"[]', 'ltree[]']);

/** For `status` and `apply`. Reads the catalog and the registry, no rows. If the registry is unreachable, only the catalog is used. */
export async function columnTroubles(
  db: Pick<Client, 'query'>,
  schemas: Pick<CaptureSchemas, 'latest'>,
  prefix: string,
): Promise<readonly ColumnTrouble[]> {
  const troubles: ColumnTrouble[] = [];
  for (const table of capturedTables) {
    const types = await columnTypes(db, table.name);
    const version = await schemas.latest(valueSubject(topicOf(prefix, table))).catch((error: unknown) => {
      if (isError(error, 'REGISTRY_UNREACHABLE')) return undefined;
      throw error;
    });
    const refused = version === undefined ? [] : rowColumns(version.schema, types).refused;
    const found = new Map(refused.map((column) => [column.name, column]));
    for (const [name, { type }] of types) {
      const reason = reasonOf(type);
      if (reason !== undefined) found.set(name, { name, reason, remedy });
    }
    troubles.push(...[...found.values()].map((column) => ({ ...column, table: table.name })));
  }
  return troubles;
}

function reasonOf(type: string): string | undefined {
  if (failing.has(type)) return `of type ${typeName(type)} fails Debezium's task at its first value`;
  if (type === 'name') return 'of type name is captured as null, whatever it holds';
  return kinds.has(type)
    ? undefined
    : `of type ${typeName(type)} is not captured, or cannot be recaptured after a lost slot`;
}

/** One line per column. */
export function troubleLine({ table, name, reason, remedy: way }: ColumnTrouble): string {
  return `${table}.${name} ${reason}. ${way}`;
}
