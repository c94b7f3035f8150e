import { expect, test } from '@jest/globals';
import { candle } from '../../core/archive/fixtures/candle.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import { MemoryLog } from '../../core/testing/memory-log.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import type { CandleKey } from '../../schemas/gen/candle_key.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { compareVariants } from './variant.ts';

test('the newest value of each key is compared, not how many came before it, in which partition, or of which version', async () => {
  const log = new MemoryLog();
  const schemas = new MemorySchemas();
  const [keys, values] = [
    await AvroEncoder.open<CandleKey>(schemas, 'candles-key', contracts.candle_key),
    await AvroEncoder.open<Candle>(schemas, 'candles-value', contracts.candle),
  ];
  const publish = (topic: string, partition: number, value: Candle) => {
    const { venue, symbol, interval, window_start } = value;
    const key = keys.encode({ venue, symbol, interval, window_start });
    log.append({ topic, partition, key, value: values.encode(value), timestamp: 0n });
  };
  log.create('blue', 1);
  log.create('green', 2);
  const other = { ...candle, symbol: 'ETH-USD' };
  publish('blue', 0, { ...candle, status: 'PARTIAL', revision: 1, open: 1n });
  publish('blue', 0, { ...candle, revision: 2 });
  publish('green', 1, {
    ...candle,
    revision: 1,
    provenance: { ...(candle.provenance as NonNullable<Candle['provenance']>), processor_version: '2' },
  });
  publish('blue', 0, other);
  publish('green', 0, other);
  const compare = () =>
    compareVariants(log, schemas, {
      topic: 'blue',
      other: 'green',
      keySchema: contracts.candle_key,
      valueSchema: contracts.candle,
    });
  expect(await compare()).toMatchObject({ differences: 0, examples: [] });

  publish('green', 0, { ...other, revision: 2, open: 7n });
  publish('blue', 0, { ...candle, symbol: 'LTC-USD' });
  const { differences, examples } = await compare();
  expect(differences).toBe(2);
  expect(examples[0]).toMatch(/"ETH-USD".*: open was 85012000001, in green 7$/);
  expect(examples[1]).toMatch(/"LTC-USD".*: in blue only$/);
});
