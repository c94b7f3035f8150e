/** Times as Debezium writes them: as SQL if Postgres can compute the value, otherwise as text. */
import type { Kind, Pair } from './kind.ts';

const long: Pair = { toAvro: (text) => BigInt(text), toText: String };
const int: Pair = { toAvro: Number, toText: String };
const minLong = '-9223372036854775808';
const maxLong = '9223372036854775807';

const micros: Kind['pair'] = ({ base }) => (base === 'long' ? long : undefined);

/** Days since 1970. Debezium has its own numbers for the two infinities. */
function days(infinity: number, minusInfinity: number): Omit<Kind, 'element'> {
  return {
    held: 'integer',
    sql: (column) =>
      `CASE ${column} WHEN 'infinity' THEN ${infinity} WHEN '-infinity' THEN ${minusInfinity} ELSE ${column} - date '1970-01-01' END`,
    pair: ({ base }) => (base === 'int' ? int : undefined),
  };
}

export const date: Kind = { ...days(2_146_033_979, -2_147_472_691), element: days(-622_191_234, -625_821_272) };

/** For `timestamp(0)` to `timestamp(3)`. The two infinities have the values of Debezium's documentation. */
const milliseconds: Pair = {
  toAvro: (text) => {
    if (text === maxLong) return 9_223_372_036_825_200_000n;
    return text === minLong ? -9_223_372_036_832_400_000n : BigInt(text) / 1_000n;
  },
  toText: (value) => {
    const micros = (value as bigint) * 1_000n;
    if (micros > BigInt(maxLong)) return maxLong;
    return micros < BigInt(minLong) ? minLong : String(micros);
  },
};

/**
 * Time since 1970: milliseconds for types of at most three digits, otherwise microseconds. Compared in microseconds, limited to 64 bits.
 */
export const timestamp: Kind = {
  held: 'bigint',
  sql: (column) =>
    `CASE WHEN ${column} = 'infinity' THEN ${maxLong} WHEN ${column} = '-infinity' THEN ${minLong}
          WHEN ${column} IS NOT NULL THEN least(extract(epoch FROM ${column}) * 1000000, ${maxLong})::bigint END`,
  pair: ({ base }, modifier) => (base !== 'long' ? undefined : modifier >= 0 && modifier <= 3 ? milliseconds : long),
};

/** Microseconds since midnight. Array elements are cut to milliseconds, and 24:00 becomes 0 there. */
export const time: Kind = {
  held: 'bigint',
  sql: (column) => `(extract(epoch FROM ${column}) * 1000000)::bigint`,
  pair: micros,
  element: {
    held: 'bigint',
    sql: (column) => `(trunc(extract(epoch FROM ${column}) * 1000) * 1000)::bigint % 86400000000`,
    pair: micros,
  },
};

/** UTC, with the digits of the value. */
export const timeWithZone: Kind = {
  held: 'text',
  sql: (column) =>
    `CASE ${column}::text WHEN '24:00:00+00' THEN '24:00:00' ELSE (${column} AT TIME ZONE 'UTC')::time::text END || 'Z'`,
  pair: ({ base }) => (base === 'string' ? { toAvro: (text) => text, toText: String } : undefined),
};

/** A month is 30.4375 days. The sum is computed in doubles, as in Debezium. */
export const interval: Kind = {
  held: 'bigint',
  sql: (column) => {
    const part = (name: string) => `extract(${name} FROM ${column})::float8`;
    const months = `(${part('year')} * 12 + ${part('month')}) * (365.25::float8 / 12)`;
    const seconds = `(((${months} + ${part('day')}) * 24 + ${part('hour')}) * 60 + ${part('minute')}) * 60 + ${part('second')}`;
    const micros = `trunc((${seconds}) * 1000000)`;
    return `CASE WHEN ${micros} >= 9223372036854775807 THEN ${maxLong} WHEN ${micros} <= ${minLong} THEN ${minLong}
                 ELSE (${micros})::bigint END`;
  },
  pair: micros,
};

/** ISO text with the column's number of digits, by default six. Years follow ISO: 0000 is 1 BC. */
export const timestampWithZone: Kind = {
  pair: ({ base }, modifier) =>
    base === 'string' ? { toAvro: (text) => iso(text, modifier < 0 ? 6 : modifier), toText: postgres } : undefined,
  element: {
    pair: ({ base }, modifier) =>
      base !== 'string'
        ? undefined
        : {
            toAvro: (text) => (text === '-infinity' ? minusInfinity : iso(text, modifier < 0 ? 6 : modifier)),
            toText: (value) => (value === minusInfinity ? '-infinity' : postgres(value)),
          },
  },
};

/** Debezium's value within an array. */
const minusInfinity = '+292269055-12-02T23:00:00.000000Z';

const written = /^(\d{4,})-(\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00( BC)?$/;

/** @param text Postgres' text, in UTC */
function iso(text: string, digits: number): string {
  const [, year = '', day, clock, fraction = '', bc] = written.exec(text) ?? [];
  if (day === undefined) return text;
  const number = bc === undefined ? Number(year) : 1 - Number(year);
  const sign = number > 9_999 ? '+' : number < 0 ? '-' : '';
  const point = digits === 0 ? '' : `.${fraction.padEnd(digits, '0')}`;
  return `${sign}${String(Math.abs(number)).padStart(4, '0')}-${day}T${clock}${point}Z`;
}

function postgres(value: unknown): string {
  const [, year, rest] = /^([+-]?\d{4,})-(.*)Z$/.exec(value as string) ?? [];
  if (year === undefined || rest === undefined) return value as string;
  const number = Number(year);
  const shown = String(number > 0 ? number : 1 - number).padStart(4, '0');
  return `${shown}-${rest.replace('T', ' ')}+00${number > 0 ? '' : ' BC'}`;
}
