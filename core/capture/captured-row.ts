import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { MillraceError } from '../base/errors.ts';

/** Debezium's placeholder for a value that the update did not change and Postgres did not send. */
export const unavailableValue = '__debezium_unavailable_value';

/**
 * The row of a change, checked to be whole: the placeholder must never be stored as a value. With REPLICA IDENTITY FULL,
 * Postgres sends every value.
 *
 * @throws MillraceError BAD_RECORD: an update has the placeholder in a column
 */
export function wholeRow<T extends object>(row: T, op: string): T {
  // Only updates omit values, and updates are rare.
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
 * Reader schema for the envelope of any captured table: the operation and the named fields of `source`. Other fields are skipped, not decoded.
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
