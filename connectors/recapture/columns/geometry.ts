/** Geometric types, compared as their numbers: Postgres compares most of them by area or length, or not at all. */
import type { Kind } from './kind.ts';

interface Written {
  readonly write: (numbers: readonly number[]) => object;
  readonly read: (value: never) => readonly number[];
  /** SQL of the numbers. Default: the numbers of the text. */
  readonly sql?: (column: string) => string;
}

function numbers(column: string): string {
  return `('{' || translate(${column}::text, '()[]<>{}', '') || '}')::double precision[]`;
}

function kind({ write, read, sql = numbers }: Written): Kind {
  return {
    held: 'double precision[]',
    sql,
    pair: ({ base }) =>
      base !== 'record'
        ? undefined
        : {
            toAvro: (text) => write(text.slice(1, -1).split(',').map(Number)),
            toText: (value) => `{${read(value as never).join(',')}}`,
          },
  };
}

function header(type: number, ...counts: readonly number[]): Buffer {
  const bytes = Buffer.alloc(5 + 4 * counts.length);
  bytes.writeUInt8(1, 0);
  bytes.writeUInt32LE(type, 1);
  for (const [i, count] of counts.entries()) bytes.writeUInt32LE(count, 5 + 4 * i);
  return bytes;
}

function wkb(head: Buffer, coordinates: readonly number[]): Buffer {
  const body = Buffer.alloc(8 * coordinates.length);
  for (const [i, each] of coordinates.entries()) body.writeDoubleLE(each, 8 * i);
  return Buffer.concat([head, body]);
}

function pointOf(x: number, y: number): object {
  return { x, y, wkb: wkb(header(1), [x, y]), srid: null };
}

const pointBytes = 16;

function coordinates({ wkb: bytes }: { readonly wkb: Buffer }, from: number): number[] {
  return Array.from({ length: (bytes.length - from) / 8 }, (_, i) => bytes.readDoubleLE(from + 8 * i));
}

function line(type: string, points: readonly number[], more: object = {}): object {
  return {
    wkb: wkb(header(2, (8 * points.length) / pointBytes), points),
    srid: null,
    extensions: { ...more, type },
  };
}

function ring(type: string, points: readonly number[]): object {
  return {
    wkb: wkb(header(3, 1, (8 * points.length) / pointBytes), points),
    srid: null,
    extensions: { type },
  };
}

const lineHeader = 9;
const ringHeader = 13;

export const geometry: Readonly<Record<string, Kind>> = {
  point: kind({
    write: ([x = 0, y = 0]) => pointOf(x, y),
    read: ({ x, y }: { x: number; y: number }) => [x, y],
  }),
  line: kind({
    write: ([a, b, c]) => ({ a, b, c }),
    read: ({ a, b, c }: { a: number; b: number; c: number }) => [a, b, c],
  }),
  circle: kind({
    write: ([x = 0, y = 0, radius]) => ({ center: pointOf(x, y), radius }),
    read: ({ center, radius }: { center: { x: number; y: number }; radius: number }) => [center.x, center.y, radius],
  }),
  lseg: kind({
    write: (points) => line('lseg', points),
    read: (value: { wkb: Buffer }) => coordinates(value, lineHeader),
  }),
  box: kind({
    write: ([right = 0, top = 0, left = 0, bottom = 0]) =>
      ring('box', [right, top, right, bottom, left, bottom, left, top, right, top]),
    read: (value: { wkb: Buffer }) => {
      const [right = 0, top = 0, , , left = 0, bottom = 0] = coordinates(value, ringHeader);
      return [right, top, left, bottom];
    },
  }),
  polygon: kind({
    write: (points) => ring('polygon', [...points, ...points.slice(0, 2)]),
    read: (value: { wkb: Buffer }) => coordinates(value, ringHeader).slice(0, -2),
  }),
  // The first number is 1 for a closed path.
  path: kind({
    sql: (column) =>
      `CASE WHEN ${column} IS NOT NULL THEN isclosed(${column})::int::double precision || ${numbers(column)} END`,
    write: ([closed, ...points]) => line('path', points, { closed: String(closed === 1) }),
    read: (value: { wkb: Buffer; extensions: { closed: string } }) => [
      value.extensions.closed === 'true' ? 1 : 0,
      ...coordinates(value, lineHeader),
    ],
  }),
};
