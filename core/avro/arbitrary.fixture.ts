/** Values of Avro schemas for property tests, with the extremes of every type among them. */
import fc from 'fast-check';

interface Node {
  readonly type: unknown;
  readonly logicalType?: string;
  readonly precision?: number;
  readonly items?: unknown;
  readonly values?: unknown;
  readonly symbols?: readonly string[];
  readonly name?: string;
  readonly fields?: readonly { readonly name: string; readonly type: unknown }[];
}

const MAX_LONG = 2n ** 63n - 1n;

/** Longs, the more often the nearer to a boundary of some representation. */
export const longs: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: -MAX_LONG - 1n, max: MAX_LONG }),
  fc
    .tuple(fc.integer({ min: 0, max: 62 }), fc.constantFrom(-1n, 0n, 1n), fc.constantFrom(-1n, 1n))
    .map(([power, delta, sign]) => sign * 2n ** BigInt(power) + delta),
  fc.constantFrom(MAX_LONG, -MAX_LONG - 1n, 0n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n),
);

export function decimals(precision: number): fc.Arbitrary<bigint> {
  const max = 10n ** BigInt(precision) - 1n;
  const edge = fc
    .tuple(fc.integer({ min: 0, max: precision * 4 }), fc.constantFrom(-1n, 0n, 1n), fc.constantFrom(-1n, 1n))
    .map(([power, delta, sign]) => sign * 2n ** BigInt(power) + delta)
    .filter((value) => value <= max && value >= -max);
  return fc.oneof(fc.bigInt({ min: -max, max }), edge, fc.constantFrom(max, -max, 0n));
}

export function valuesOf(
  schema: unknown,
  named: Map<string, fc.Arbitrary<unknown>> = new Map(),
): fc.Arbitrary<unknown> {
  if (Array.isArray(schema)) return fc.oneof(...schema.map((branch) => valuesOf(branch, named)));
  if (typeof schema === 'string') return primitive(schema, named);
  const node = schema as Node;
  if (node.logicalType === 'decimal') return decimals(node.precision ?? 1);
  switch (node.type) {
    case 'record': {
      const fields = Object.fromEntries((node.fields ?? []).map(({ name, type }) => [name, valuesOf(type, named)]));
      return remember(node, fc.record(fields, { noNullPrototype: true }), named);
    }
    case 'enum':
      return remember(node, fc.constantFrom(...(node.symbols ?? [])), named);
    case 'array':
      return fc.array(valuesOf(node.items, named), { maxLength: 30 });
    case 'map':
      return fc.dictionary(fc.string(), valuesOf(node.values, named), { maxKeys: 10, noNullPrototype: true });
    default:
      return valuesOf(node.type, named);
  }
}

function remember(
  node: Node,
  values: fc.Arbitrary<unknown>,
  named: Map<string, fc.Arbitrary<unknown>>,
): fc.Arbitrary<unknown> {
  if (node.name !== undefined) named.set(node.name, values);
  return values;
}

function primitive(type: string, named: ReadonlyMap<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> {
  switch (type) {
    case 'null':
      return fc.constant(null);
    case 'boolean':
      return fc.boolean();
    case 'int':
      return fc.integer();
    case 'long':
      return longs;
    case 'string':
      return fc.string({ unit: 'binary' }).map((text) => text.toWellFormed());
    case 'bytes':
      return fc.uint8Array().map((bytes) => Buffer.from(bytes));
    default: {
      const known = named.get(type);
      if (known === undefined) throw new Error(`no values for the Avro type ${type}`);
      return known;
    }
  }
}
