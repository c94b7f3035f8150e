/** A parked table is left out of the capture, so that its fault does not stop the other tables. It stays in the publication. */
import { MillraceError } from '../../core/base/errors.ts';
import { capturedTables } from '../recapture/rows/tables.ts';
import type { Definition } from './definition.ts';

const include = 'table.include.list';

/** The definition without these tables. */
export function withoutTables({ name, config }: Definition, parked: readonly string[]): Definition {
  const tables = (config[include] ?? '').split(',').filter((table) => !parked.includes(table));
  return { name, config: { ...config, [include]: tables.join(',') } };
}

/**
 * Full name of a table that may be parked. The heartbeat table may not: log time would stand still.
 *
 * @throws MillraceError CONFIG_INVALID
 */
export function parkable(table: string): string {
  const name = table.includes('.') ? table : `public.${table}`;
  if (capturedTables.some((each) => each.name === name)) return name;
  throw new MillraceError('CONFIG_INVALID', `${name} is no table that can be parked`, {
    remedy: `Name one of ${capturedTables.map((each) => each.name).join(', ')}.`,
  });
}
