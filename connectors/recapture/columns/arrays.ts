/** Arrays of one dimension. Debezium writes an array of more dimensions as nulls only, one for each row of it. */
import type { AvroShape, Kind, Pair } from './kind.ts';
import { avroShape } from './kind.ts';

/** Kind of an array with elements of the given kind. @param type type of the elements */
export function arrayOf({ element, ...whole }: Kind, type: string): Kind {
  const kind = element ?? whole;
  const held = kind.held ?? type;
  const value = kind.sql?.('value') ?? 'value';
  return {
    held: `${held}[]`,
    // The parsed array begins at index 1, whatever its lower bound was.
    sql: (column) =>
      `CASE WHEN array_ndims(${column}) > 1 THEN array_fill(NULL::${held}, ARRAY[array_length(${column}, 1)])
            WHEN ${column} IS NOT NULL THEN ARRAY(SELECT ${value} FROM unnest(${column}) WITH ORDINALITY AS each (value, place) ORDER BY place) END`,
    pair: ({ base, items }: AvroShape, modifier) => {
      const pair = base === 'array' ? kind.pair(avroShape(items), modifier) : undefined;
      return pair && pairOf(pair);
    },
  };
}

function pairOf({ toAvro, toText }: Pair): Pair {
  return {
    toAvro: (text) => elementsOf(text).map((each) => (each === null ? null : toAvro(each))),
    toText: (value) =>
      `{${(value as readonly unknown[]).map((each) => (each === null ? 'NULL' : quoted(toText(each)))).join(',')}}`,
  };
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** Elements of Postgres' text for an array of one dimension that begins at 1. */
function elementsOf(text: string): (string | null)[] {
  const elements: (string | null)[] = [];
  const element = /"((?:[^"\\]|\\.)*)"|([^,{}]+)/gsy;
  for (let at = 1; at < text.length - 1; at = element.lastIndex + 1) {
    element.lastIndex = at;
    const [whole, inQuotes, plain] = element.exec(text) ?? [];
    if (whole === undefined) throw new Error(`not the text of an array: ${text.slice(0, 60)}`);
    elements.push(
      inQuotes === undefined ? (plain === 'NULL' ? null : (plain ?? '')) : inQuotes.replace(/\\(.)/gs, '$1'),
    );
  }
  return elements;
}
