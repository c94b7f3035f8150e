import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { schemas } from '../../schemas/gen/index.ts';
import { breakOf } from './compatibility.ts';
import { avroType } from './types.ts';

const record = (...fields: object[]) => ({ type: 'record', name: 'R', namespace: 'n', fields });
const decimal = (precision: number, scale: number) => ({ type: 'bytes', logicalType: 'decimal', precision, scale });
const colour = (...symbols: string[]) => ({ type: 'enum', name: 'E', symbols });

describe('what BACKWARD allows and forbids', () => {
  test.each([
    ['a new field with a default', record({ name: 'a', type: 'int', default: 1 }), record()],
    ['a field that goes', record(), record({ name: 'a', type: 'int' })],
    ['an int that becomes a long', record({ name: 'a', type: 'long' }), record({ name: 'a', type: 'int' })],
    [
      'a field that may be null from now on',
      record({ name: 'a', type: ['null', 'int'] }),
      record({ name: 'a', type: 'int' }),
    ],
    ['a new enum symbol', colour('A', 'B'), colour('A')],
    [
      'a renamed field with an alias',
      record({ name: 'b', aliases: ['a'], type: 'int' }),
      record({ name: 'a', type: 'int' }),
    ],
    ['a decimal of more digits', decimal(38, 8), decimal(20, 8)],
  ])('%s is allowed', (_, after, before) => {
    expect(breakOf(after, before)).toBeUndefined();
  });

  test.each([
    [
      'a new field without a default',
      record({ name: 'a', type: 'int' }),
      record(),
      'a is not written, and has no default',
    ],
    [
      'a long that becomes an int',
      record({ name: 'a', type: 'int' }),
      record({ name: 'a', type: 'long' }),
      'a: "long" cannot be read as "int"',
    ],
    [
      'a field that may not be null any more',
      record({ name: 'a', type: 'int' }),
      record({ name: 'a', type: ['null', 'int'] }),
      'a: "null" cannot be read as "int"',
    ],
    ['an enum symbol that goes', colour('A'), colour('A', 'B'), 'the value: E cannot be read as E'],
    ['a renamed record', { ...record(), name: 'S' }, record(), 'the value: n.R cannot be read as n.S'],
    ['a decimal of fewer digits', decimal(20, 8), decimal(38, 8), '"precision":38'],
    ['a decimal of another scale', decimal(20, 7), decimal(20, 8), '"scale":8'],
    [
      'a change deep inside',
      record({ name: 'a', type: ['null', { ...record({ name: 'b', type: 'int' }), name: 'S' }] }),
      record({ name: 'a', type: ['null', { ...record({ name: 'b', type: 'string' }), name: 'S' }] }),
      'a.b: "string" cannot be read as "int"',
    ],
  ])('%s is forbidden, and the reason names it', (_, after, before, reason) => {
    expect(breakOf(after, before)).toContain(reason);
  });
});

/**
 * `schemas/released` holds each schema as it was last released. A change of a schema is compared with it here; a release copies the
 * schemas over (`millrace schemas release`), in the same commit as its version. Git history is not used: a clone in CI may have none.
 */
describe('released schemas', () => {
  const folder = new URL('../../schemas/released/', import.meta.url);
  const released = readdirSync(folder).filter((file) => file.endsWith('.avsc'));

  test('there are some, and every schema that was released still exists', () => {
    expect(released.length).toBeGreaterThan(0);
    expect(released.map((file) => file.replace('.avsc', '')).filter((name) => !(name in schemas))).toEqual([]);
  });

  test.each(released)('what was written by the released %s can be read by the present one', (file) => {
    const before = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as object;
    const after = schemas[file.replace('.avsc', '') as keyof typeof schemas];
    expect(breakOf(after, before)).toBeUndefined();
  });

  test('a released schema that a change would break is found', () => {
    const broken = { ...schemas.candle_key, fields: [...schemas.candle_key.fields, { name: 'x', type: 'string' }] };
    expect(breakOf(broken, schemas.candle_key)).toBe('x is not written, and has no default');
    expect(avroType(broken).name).toBe('millrace.market.CandleKey');
  });
});
