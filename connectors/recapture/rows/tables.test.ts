import { readFile } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import { envelopeSchema } from '../../../core/avro/fixtures/debezium.ts';
import { MemorySchemas } from '../../../core/avro/registry/memory.ts';
import { openTables } from './opened.ts';
import { capturedTables, tablesWithout } from './tables.ts';

test('what is recaptured is what the connector captures, keyed and routed as the definition says', async () => {
  const { config } = JSON.parse(await readFile(new URL('../../trades.json', import.meta.url), 'utf8')) as {
    config: Record<string, string>;
  };
  const names = capturedTables.map(({ name }) => name);
  const captured = config['table.include.list']?.split(',') ?? [];
  expect(new Set([...names, 'public.heartbeat'])).toEqual(new Set(captured));
  // Debezium reads the tables in this order. When a snapshot ends within trades, the log already has all instruments.
  expect(captured.indexOf('public.instruments')).toBeLessThan(captured.indexOf('public.trades'));
  const [trades, instruments] = capturedTables;
  // Debezium's internal row key is the primary key; an incremental snapshot tells rows apart by it. The published key is shorter.
  expect(config['message.key.columns']).toBeUndefined();
  expect(trades?.primaryKey.filter((name) => !trades.key.includes(name))).toEqual(
    config['transforms.key.exclude']?.split(','),
  );
  expect(config['transforms.partition.partition.payload.fields']).toBe(
    trades?.key.map((name) => `change.${name}`).join(','),
  );
  // Not routed, and keyed by the primary key, the default.
  expect(config['predicates.trades.pattern']).toMatch(/public\\\.trades$/);
  expect(instruments?.key).toEqual(instruments?.primaryKey);
  const key = Buffer.from('0000000004027602', 'hex');
  expect(trades?.partition({ venue: 'BTC', symbol: 'USD' }, key, 6)).toBe(
    trades?.partition({ venue: 'USD', symbol: 'BTC' }, Buffer.alloc(0), 6),
  );
  expect(instruments?.partition({}, key, 6)).toBeLessThan(6);
});

test('a broken table that is parked is not opened, so that it refuses no recapture of the others', async () => {
  const memory = new MemorySchemas();
  const schema = envelopeSchema('t', [{ name: 'pair', type: ['null', 'int'], default: null }]);
  const schemas = Object.assign(memory, { latest: async () => ({ id: 1, version: 1, schema }) });
  // `trades` has a column of an unwritable type.
  const query = async (_sql: string, [table]: readonly string[]) => ({
    rows: [{ name: 'pair', type: table === 'public.trades' ? 'public.pair' : 'integer', modifier: -1 }],
  });
  const open = (parked: readonly string[]) =>
    openTables({ query } as unknown as Parameters<typeof openTables>[0], schemas, 'cdc', tablesWithout(parked));
  await expect(open([])).rejects.toMatchObject({ message: expect.stringContaining('public.trades.pair') });
  expect((await open(['public.trades'])).map(({ table }) => table.name)).toEqual(['public.instruments']);
});
