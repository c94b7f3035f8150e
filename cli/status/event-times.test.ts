import { expect, test } from '@jest/globals';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import type { LogRecord } from '../../core/log/log.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';
import { eventTimes } from './event-times.ts';

const row: TradeRow = {
  venue: 'bitstamp',
  symbol: 'BTC/USD',
  trade_id: '1',
  venue_sequence: null,
  price: 1n,
  size: 1n,
  side: 'buy',
  executed_at: '2013-11-25T00:00:01.000002Z',
  conditions: null,
};
const source = { ts_us: 1n, lsn: null, sequence: null, snapshot: null, txId: null };

function record(value: Buffer | null): LogRecord {
  return { offset: 0n, timestamp: 0n, key: null, value };
}

async function trade(schemas: MemorySchemas, change: TradeChange): Promise<LogRecord> {
  const encoder = await AvroEncoder.open<TradeChange>(schemas, 'cdc.public.trades-value', contracts.trade_change);
  return record(encoder.encode(change));
}

test("a trade's event time is when it was executed, to the microsecond, also when it is deleted", async () => {
  const schemas = new MemorySchemas();
  const eventTimeOf = eventTimes(schemas);
  const at = 1_385_337_601_000_002n;
  const inserted = await trade(schemas, { before: null, after: row, op: 'c', source });
  const deleted = await trade(schemas, { before: row, after: null, op: 'd', source });
  expect(await eventTimeOf('cdc.public.trades', inserted)).toBe(at);
  expect(await eventTimeOf('cdc.public.trades', deleted)).toBe(at);
});

test('a record that cannot be read, a tombstone and a topic of bytes have no event time', async () => {
  const eventTimeOf = eventTimes(new MemorySchemas());
  expect(await eventTimeOf('cdc.public.trades', record(Buffer.from('poison')))).toBeUndefined();
  expect(await eventTimeOf('cdc.public.trades', record(Buffer.from([0, 0, 0, 0, 77, 1])))).toBeUndefined();
  expect(await eventTimeOf('market.candles', record(null))).toBeUndefined();
  expect(await eventTimeOf('ohlcv.changelog', record(Buffer.from('state')))).toBeUndefined();
  expect(await eventTimeOf('somewhere.else', record(Buffer.from('x')))).toBeUndefined();
});
