/**
 * All Postgres types that Debezium captures, as it writes them with the settings of the definitions. A test compares both on a real stack.
 */
import { MillraceError } from '../../../core/base/errors.ts';
import { arrayOf } from './arrays.ts';
import { decimalPair } from './decimals.ts';
import { geometry } from './geometry.ts';
import { hstoreText } from './hstore.ts';
import { date, interval, time, timestamp, timestampWithZone, timeWithZone } from './instants.ts';
import type { Kind, Pair } from './kind.ts';

const plain: Pair = { toAvro: (text) => text, toText: String };
const number: Pair = { toAvro: Number, toText: String };
const long: Pair = { toAvro: (text) => BigInt(text), toText: String };
const truth: Pair = { toAvro: (text) => text === 'true' || text === 't', toText: String };

function as(base: string, pair: Pair, held: Pick<Kind, 'held' | 'sql'> = {}): Kind {
  return { ...held, pair: (avro) => (avro.base === base ? pair : undefined) };
}

/** Compared as text, because Postgres cannot compare the type, or treats values as equal that are written differently. */
const asText = as('string', plain, { held: 'text', sql: (column) => `${column}::text` });
const text = as('string', plain);

/** Without leading zeros: Debezium keeps no length. */
const bits: Kind = {
  held: 'text',
  sql: (column) => `ltrim(${column}::text, '0')`,
  pair: ({ base }) => {
    if (base === 'boolean')
      return { toAvro: (digits) => digits === '1', toText: (value) => (value === true ? '1' : '') };
    if (base !== 'bytes') return undefined;
    return {
      toAvro: (digits) => {
        const hex = digits === '' ? '' : BigInt(`0b${digits}`).toString(16);
        return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').reverse();
      },
      toText: (value) => {
        const hex = Buffer.from(value as Buffer)
          .reverse()
          .toString('hex');
        return hex === '' ? '' : BigInt(`0x${hex}`).toString(2).replace(/^0$/, '');
      },
    };
  },
};

const scalars: Readonly<Record<string, Kind>> = {
  smallint: as('int', number),
  integer: as('int', number),
  bigint: as('long', long),
  oid: as('long', long),
  numeric: { pair: decimalPair },
  money: { held: 'numeric', sql: (column) => `${column}::numeric`, pair: decimalPair },
  real: as('float', number),
  'double precision': as('double', number),
  boolean: as('boolean', truth),
  bytea: as('bytes', {
    toAvro: (shown) => Buffer.from(shown.slice(2), 'hex'),
    toText: (value) => `\\x${(value as Buffer).toString('hex')}`,
  }),
  text,
  'character varying': text,
  bpchar: text,
  '"char"': text,
  uuid: text,
  jsonb: text,
  inet: text,
  cidr: text,
  macaddr: text,
  macaddr8: text,
  tsvector: text,
  int4range: text,
  int8range: text,
  numrange: text,
  tsrange: text,
  tstzrange: text,
  daterange: text,
  json: asText,
  xml: asText,
  enum: asText,
  citext: asText,
  ltree: asText,
  hstore: as('string', { toAvro: hstoreText, toText: String }, { held: 'jsonb', sql: (column) => `${column}::jsonb` }),
  date,
  'time without time zone': time,
  'time with time zone': timeWithZone,
  'timestamp without time zone': timestamp,
  'timestamp with time zone': timestampWithZone,
  interval,
  '"bit"': bits,
  'bit varying': bits,
  ...geometry,
};

/** Arrays of other element types have no field in Debezium's records, or fail its task. */
const elements: readonly string[] = [
  ...['smallint', 'integer', 'bigint', 'oid', 'numeric', 'real', 'double precision', 'boolean', 'bytea', 'text'],
  ...['character varying', 'bpchar', 'uuid', 'json', 'jsonb', 'inet', 'cidr', 'macaddr', 'macaddr8', 'tsvector'],
  ...['int4range', 'int8range', 'numrange', 'tsrange', 'tstzrange', 'daterange', 'enum', 'citext', 'hstore', 'date'],
  ...['time without time zone', 'time with time zone', 'timestamp without time zone', 'timestamp with time zone'],
];

const arrays = Object.fromEntries(
  elements.flatMap((type) => {
    const kind = scalars[type];
    const held = type === 'enum' ? 'text' : type;
    return kind === undefined ? [] : [[`${type}[]`, arrayOf(kind, held)]];
  }),
);

/** Debezium's task fails at any value, so a captured row has null. */
const alwaysNull: Kind = {
  held: 'text',
  sql: (column) => `${column}::text`,
  pair: () => ({
    toAvro: (value) => {
      throw new MillraceError('BAD_RECORD', `Debezium cannot write ${value.slice(0, 60)}`);
    },
    toText: String,
  }),
};

/** Debezium writes a field for `name` that is always null. */
const name: Kind = { held: 'text', sql: () => 'NULL::text', pair: text.pair };

export const kinds: ReadonlyMap<string, Kind> = new Map(
  Object.entries({ ...scalars, ...arrays, name, '"bit"[]': alwaysNull, 'ltree[]': alwaysNull }),
);
