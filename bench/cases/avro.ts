/**
 * Decoding and encoding of single records, without a broker: `npm run bench -- avro [records]`. Prints records per second of CPU time,
 * which other load on the machine does not change, and the ratio of full decoding to the narrow reader.
 */

import { AvroDecoder } from '../../core/avro/decoder.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { envelope, envelopeSchema, tradeRow } from '../../core/avro/fixtures/debezium.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';

export const help = `bench avro [records]
  decoding and encoding of single records, no broker: records per second of CPU time`;

export async function run(args: readonly string[]): Promise<void> {
  const RECORDS = Number(args[0] ?? 400_000);
  const DISTINCT = 1_000;

  const schemas = new MemorySchemas();
  const writer = await AvroEncoder.open<object>(schemas, 'cdc.public.trades-value', envelopeSchema());
  const values = Array.from({ length: DISTINCT }, (_, i) =>
    writer.encode(
      envelope({ after: tradeRow({ trade_id: String(2_041_283 + i), price: 80_517_000_000n + BigInt(i) }) }),
    ),
  );

  function rate(label: string, one: (index: number) => unknown): number {
    for (let i = 0; i < RECORDS / 4; i++) one(i % DISTINCT);
    const started = process.cpuUsage().user;
    for (let i = 0; i < RECORDS; i++) one(i % DISTINCT);
    const perSecond = (RECORDS / (process.cpuUsage().user - started)) * 1_000_000;
    console.log(`${label.padEnd(28)} ${Math.round(perSecond).toLocaleString('en').padStart(12)} records/CPU s`);
    return perSecond;
  }

  async function decoding(label: string, reader: object | null): Promise<number> {
    const decoder = new AvroDecoder<unknown>(schemas, reader);
    await decoder.prepare(decoder.missing(values));
    return rate(label, (index) => decoder.decode(values[index] as Buffer));
  }

  console.log(`${values[0]?.length} bytes a record`);
  const full = await decoding('decode, full envelope', null);
  const narrow = await decoding('decode, narrow reader', contracts.trade_change);
  console.log(`narrow is ${(narrow / full).toFixed(2)} times full`);

  const candles = await AvroEncoder.open<Candle>(schemas, 'market.candles-value', contracts.candle);
  const time = 1_385_337_600_000_000n;
  const candle: Candle = {
    venue: 'bitstamp',
    symbol: 'BTC/USD',
    interval: '1m',
    window_start: time,
    window_end: time + 60_000_000n,
    open: 80_517_000_000n,
    high: 80_599_000_000n,
    low: 80_500_000_000n,
    close: 80_520_000_000n,
    vwap: 80_519_123_456n,
    volume: 12_345_678_901n,
    notional: 994_057_123_456_789_012_345n,
    trade_count: 87n,
    first_trade_id: '2041283',
    last_trade_id: '2041370',
    open_time: time + 1n,
    high_time: time + 2n,
    low_time: time + 3n,
    close_time: time + 4n,
    status: 'CLOSED',
    revision: 3,
    reason: 'WATERMARK',
    provenance: {
      processor_version: '0.1.0',
      from_offset: 1_000n,
      to_offset: 1_087n,
      from_lsn: 26_715_344n,
      to_lsn: 26_725_344n,
    },
  };
  rate('encode, candle', () => candles.encode(candle));
  const encoded = candles.encode(candle);
  const candleDecoder = new AvroDecoder<Candle>(schemas, contracts.candle);
  await candleDecoder.prepare([candles.schemaId]);
  rate('decode, candle', () => candleDecoder.decode(encoded));
}
