import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { MillraceError } from '../base/errors.ts';

/** What Debezium writes in place of a value that the update did not touch and Postgres did not tell. */
export const unavailableValue = '__debezium_unavailable_value';

/**
 * A row of a change, whole: the placeholder is no value, and nobody may store it as one. Postgres tells every value where the table has
 * REPLICA IDENTITY FULL.
 *
 * @throws MillraceError BAD_RECORD
 */
export function wholeRow<T extends object>(row: T, op: string): T {
  // Only an update leaves values out, and there are few.
  if (op !== 'u') return row;
  for (const [column, value] of Object.entries(row)) {
    if (value !== unavailableValue) continue;
    throw new MillraceError('BAD_RECORD', `the change does not tell ${column}, which it did not touch`, {
      remedy: 'The table needs REPLICA IDENTITY FULL: `millrace connectors apply` names it. Touch the row again then.',
    });
  }
  return row;
}

/**
 * A reader schema of any captured table's envelope: the operation, and of `source` these fields. The rest of a record is skipped, not decoded.
 */
export function sourceSchema(...names: readonly (keyof TradeChange['source'])[]): object {
  const fields = schemas.trade_change.fields.flatMap((field): object[] => {
    if (field.name === 'op') return [field];
    if (field.name !== 'source') return [];
    const kept = field.type.fields.filter(({ name }) => names.includes(name));
    return [{ ...field, type: { ...field.type, fields: kept } }];
  });
  return { ...schemas.trade_change, fields };
}
