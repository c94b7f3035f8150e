/**
 * Columns whose values leave Postgres masked: `schema.table.column=mask:8` (as many asterisks) or `schema.table.column=hash` (SHA-256 of the
 * secret and the value, in hexadecimal). The connector masks them (Debezium's `column.mask.*`). The SQL here gives the same values, so that
 * Postgres can be compared with the captured rows.
 */
import { MillraceError } from '../base/errors.ts';
import { quoted } from '../values/sql.ts';

export interface Mask {
  /** With its schema. */
  readonly table: string;
  readonly column: string;
  /** Number of asterisks; null for a hash. */
  readonly asterisks: number | null;
}

export interface Masks {
  readonly list: readonly Mask[];
  /** Prefix of each hashed value. Without it, a guessed value could be confirmed by its hash. */
  readonly secret: string;
}

export const noMasks: Masks = Object.freeze({ list: [], secret: '' });

const shape = /^(\w+\.\w+)\.(\w+)=(?:mask:([1-9]\d{0,2})|hash)$/;

/** @throws MillraceError CONFIG_INVALID: a text is no mask, a column is masked twice, or a hash has no valid secret */
export function parseMasks(texts: readonly string[], secret: string): Masks {
  const list = texts.map((text): Mask => {
    const [, table, column, asterisks] = shape.exec(text) ?? [];
    if (table === undefined || column === undefined) {
      throw new MillraceError('CONFIG_INVALID', `capture.masks: ${JSON.stringify(text)} is no mask`, {
        remedy: 'Write schema.table.column=mask:8 or schema.table.column=hash.',
      });
    }
    return { table, column, asterisks: asterisks === undefined ? null : Number(asterisks) };
  });
  const names = list.map(({ table, column }) => `${table}.${column}`);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new MillraceError('CONFIG_INVALID', `capture.masks: ${twice} is masked twice`);
  if (list.some(({ asterisks }) => asterisks === null) && !/^\w{8,}$/.test(secret)) {
    throw new MillraceError('CONFIG_INVALID', 'capture.masks has a hash, and capture.maskSecret is none', {
      remedy: 'Set it to at least 8 letters and digits, and keep it: another secret gives other hashes.',
    });
  }
  return { list, secret };
}

/** SQL for the captured value of a column; `expression` itself if the column is not masked. */
export function maskedSql(masks: Masks, table: string, column: string, expression: string): string {
  const mask = masks.list.find((each) => each.table === table && each.column === column);
  if (mask === undefined) return expression;
  if (mask.asterisks !== null) return `repeat('*', ${mask.asterisks})`;
  return `encode(sha256(convert_to('${masks.secret}' || ${expression}, 'UTF8')), 'hex')`;
}

/** SQL to select from in place of the table: `columns`, masked. The table's name if it has no masks. */
export function maskedTable(masks: Masks, table: string, columns: readonly string[]): string {
  if (!masks.list.some((each) => each.table === table)) return table;
  const list = columns.map((column) => `${maskedSql(masks, table, column, quoted(column))} AS ${quoted(column)}`);
  return `(SELECT ${list.join(', ')} FROM ${table})`;
}
