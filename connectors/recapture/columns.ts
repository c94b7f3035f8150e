/**
 * A row between Postgres and the capture's own Avro: each column as Postgres' text (UTC, ISO dates) on one side, as Debezium writes it with
 * the settings of our definitions on the other.
 */
import { formatDecimal, parseDecimal } from '../../core/decimal.ts';
import { MillraceError } from '../../core/errors.ts';
import { formatTimestamp, parseTimestamp } from '../../core/time.ts';

export type Text = string | null;

export interface RowColumn {
  readonly name: string;
  /** As `format_type` names it with the modifier -1: `bpchar`, since `character` alone would be one character long. */
  readonly type: string;
  toAvro(text: string): unknown;
  toText(value: unknown): string;
}

interface AvroField {
  readonly name: string;
  readonly type: unknown;
}

type Pair = Pick<RowColumn, 'toAvro' | 'toText'>;

const plain: Pair = { toAvro: (text) => text, toText: (value) => value as string };
const long: Pair = { toAvro: (text) => BigInt(text), toText: (value) => String(value) };
const int: Pair = { toAvro: (text) => Number(text), toText: (value) => String(value) };
const DAY_MS = 86_400_000;

/** By Avro type, then by the types of Postgres that come as it. */
const pairs: Readonly<Record<string, Readonly<Record<string, Pair>>>> = {
  string: {
    text: plain,
    'character varying': plain,
    bpchar: plain,
    uuid: plain,
    json: plain,
    jsonb: plain,
    'timestamp with time zone': { toAvro: zoned, toText: (value) => value as string },
  },
  int: {
    smallint: int,
    integer: int,
    date: {
      toAvro: (text) => Date.parse(`${text}T00:00:00Z`) / DAY_MS,
      toText: (value) => new Date((value as number) * DAY_MS).toISOString().slice(0, 10),
    },
  },
  long: {
    bigint: long,
    'timestamp without time zone': {
      toAvro: (text) => parseTimestamp(`${text}Z`),
      toText: (value) => formatTimestamp(value as bigint),
    },
  },
  boolean: { boolean: { toAvro: (text) => text === 'true' || text === 't', toText: (value) => String(value) } },
  float: { real: int },
  double: { 'double precision': int },
  bytes: {
    bytea: {
      toAvro: (text) => Buffer.from(text.slice(2), 'hex'),
      toText: (value) => `\\x${(value as Buffer).toString('hex')}`,
    },
  },
};

/**
 * The columns that both the row's Avro record and the table have, in the record's order. What the table has beyond the record was never
 * captured; what the record has beyond the table is gone and must have a default.
 *
 * @param envelope a registered value schema of a capture topic.
 * @param types of the table's columns by name, as `RowColumn.type`.
 * @throws MillraceError SCHEMA_INCOMPATIBLE: a column cannot be written as Debezium would.
 */
export function rowColumns(
  envelope: object,
  types: ReadonlyMap<string, string>,
): { readonly columns: readonly RowColumn[]; readonly defaults: Readonly<Record<string, unknown>> } {
  const columns: RowColumn[] = [];
  const defaults: Record<string, unknown> = {};
  for (const field of rowFields(envelope)) {
    const type = types.get(field.name);
    if (type !== undefined) columns.push({ name: field.name, type, ...pairOf(field, type) });
    else if ('default' in field) defaults[field.name] = defaultOf(field);
    else {
      throw new MillraceError(
        'SCHEMA_INCOMPATIBLE',
        `column ${field.name} was captured, has no default and is not in the table any more`,
        { remedy: 'Add the column again, with any value, until capture goes on.' },
      );
    }
  }
  return { columns, defaults };
}

function rowFields(envelope: object): readonly (AvroField & { readonly default?: unknown })[] {
  const { fields } = envelope as { fields: readonly AvroField[] };
  const row = nonNull(fields.find(({ name }) => name === 'before')?.type) as { fields: readonly AvroField[] };
  return row.fields;
}

/** As the encoder takes values: schemas, being JSON, have long ones as numbers and bytes as text. */
function defaultOf({ type, default: value }: AvroField & { readonly default?: unknown }): unknown {
  const avro = nonNull(type) as string | { readonly type: string; readonly logicalType?: string };
  const base = typeof avro === 'object' ? avro.type : avro;
  if (base === 'long' && typeof value === 'number') return BigInt(value);
  if (base !== 'bytes' || typeof value !== 'string') return value;
  const bytes = Buffer.from(value, 'latin1');
  if (typeof avro !== 'object' || avro.logicalType !== 'decimal') return bytes;
  return bytes.length === 0 ? 0n : BigInt.asIntN(8 * bytes.length, BigInt(`0x${bytes.toString('hex')}`));
}

function pairOf({ name, type }: AvroField, pgType: string): Pair {
  const avro = nonNull(type);
  const base = typeof avro === 'object' && avro !== null ? (avro as { type: string }).type : (avro as string);
  if (base === 'bytes' && pgType === 'numeric') {
    const { scale = 0 } = avro as { scale?: number };
    return {
      toAvro: (text) => parseDecimal(text, scale),
      toText: (value) => formatDecimal(value as bigint, scale),
    };
  }
  const pair = pairs[base]?.[pgType];
  if (pair !== undefined) return pair;
  throw new MillraceError(
    'SCHEMA_INCOMPATIBLE',
    `column ${name}: ${pgType} as Avro ${JSON.stringify(base)} is not known here, so it cannot be written as Debezium would`,
  );
}

function nonNull(type: unknown): unknown {
  return Array.isArray(type) ? type.find((each) => each !== 'null') : type;
}

/** `2013-11-25 00:00:00.12+00` as `2013-11-25T00:00:00.120000Z`: Debezium writes all six digits. */
function zoned(text: string): string {
  return formatTimestamp(parseTimestamp(text));
}
