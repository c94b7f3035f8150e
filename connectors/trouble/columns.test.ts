import { expect, test } from '@jest/globals';
import type { Client } from 'pg';
import { envelopeSchema } from '../../core/avro/fixtures/debezium.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { columnTroubles, troubleLine } from './columns.ts';

/** A catalog in which `trades` has these columns. */
function database(types: Readonly<Record<string, string>>): Pick<Client, 'query'> {
  const rows = Object.entries(types).map(([name, type]) => ({ name, type, modifier: -1 }));
  const query = async (_sql: string, [table]: readonly string[]) => ({ rows: table === 'public.trades' ? rows : [] });
  return { query } as unknown as Pick<Client, 'query'>;
}

const columns = {
  price: 'numeric',
  tags: 'text[]',
  flags: '"bit"[]',
  label: 'name',
  pair: 'public.pair',
  grown: 'bigint',
};

test('columns that are not captured, or cannot be recaptured, are named before the slot is lost, with a remedy', async () => {
  const schema = envelopeSchema('t', [{ name: 'grown', type: ['null', 'int'], default: null }]);
  const schemas = { latest: async () => ({ id: 1, version: 1, schema }) };
  const troubles = await columnTroubles(database(columns), schemas, 'cdc');
  expect(troubles.map(troubleLine)).toEqual([
    'public.trades.grown is of type bigint now, and was captured as Avro int. The next captured row settles it. After a lost slot: change the column back until capture goes on, or drop it.',
    expect.stringContaining("public.trades.flags of type bit[] fails Debezium's task at its first value. Use a type"),
    expect.stringContaining('public.trades.label of type name is captured as null'),
    expect.stringContaining('public.trades.pair of type public.pair is not captured'),
  ]);
});

test('without the registry, as far as the catalog tells', async () => {
  const latest = async () => {
    throw new MillraceError('REGISTRY_UNREACHABLE', 'no answer');
  };
  const troubles = await columnTroubles(database(columns), { latest }, 'cdc');
  expect(troubles.map(({ name }) => name)).toEqual(['flags', 'label', 'pair']);
});
