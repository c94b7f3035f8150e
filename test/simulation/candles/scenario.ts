import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { MemorySchemas } from '../../../core/avro/registry/memory.ts';
import type { OutRecord } from '../../../core/log/log.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import { ohlcv } from '../../../processors/ohlcv/ohlcv.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange, TradeRow } from '../../../schemas/gen/trade_change.ts';
import type { Random } from '../engine/random.ts';
import type { Scenario } from '../engine/scenario.ts';
import { Postgres } from '../postgres.ts';
import { epoch, heartbeatTopic, lastBeat, readBeat, script } from '../script.ts';
import { CandlesChecker } from './checker.ts';

export const tradesTopic = 'cdc.public.trades';
const second = 1_000_000n;
const year = 365n * 86_400n * second;
/** Each symbol's partition, and how far its trades are behind the clock: one is loaded a year late, in the partition of a living one. */
const symbols = [
  { symbol: 'BTC/USD', place: 0, behind: 0n },
  { symbol: 'OLD/USD', place: 0, behind: year },
  { symbol: 'ETH/USD', place: 1, behind: 0n },
  { symbol: 'XRP/USD', place: 2, behind: 3n * second },
] as const;

const shared = (async () => {
  const schemas = new MemorySchemas();
  const encoder = await AvroEncoder.open<TradeChange>(schemas, `${tradesTopic}-value`, contracts.trade_change);
  const decoder = new AvroDecoder<unknown>(schemas, null);
  const ids: number[] = [encoder.schemaId];
  const { candle, candle_key, late_trade, dead_letter } = contracts;
  for (const schema of [candle, candle_key, late_trade, dead_letter]) ids.push(await schemas.register('', schema));
  await decoder.prepare(ids);
  return { schemas, encoder, decoder };
})();

/** Candles of trades that are late, early, corrected, cancelled, doubled and bad. */
export async function candlesScenario(random: Random, stormMs: number): Promise<Scenario> {
  const { schemas, encoder, decoder } = await shared;
  const partitions = random.pick([1, 2, 3]);
  const settings = {
    intervals: ['1m', '5m'],
    latenessMs: random.pick([2_000, 10_000]),
    maxFutureSkewMs: 30_000,
    horizonMs: random.pick([0, 60_000, 3_600_000]),
    partialMs: random.pick([0, 0, 5_000]),
  };
  const postgres = new Postgres(random, epoch);
  const market = new Market(random, settings.latenessMs, (change) => encoder.encode(change), partitions);
  const source = script({
    random,
    postgres,
    stormMs,
    topic: tradesTopic,
    partitions,
    passes: [12_000_000, 180_000_000],
    transaction: () => postgres.transaction(random.int(1, 6)).map((at) => market.change(at)),
  });
  const checker = new CandlesChecker({ ...settings, partitions }, (bytes) => decoder.decode(bytes));
  return {
    processors: [
      {
        processor: ohlcv(settings),
        settings: { commitIntervalMs: random.pick([20, 100, 400]), commitRecords: random.pick([3, 10, 50]) },
        queueRecords: random.pick([5, 40, 1_000]),
        heartbeats: true,
      },
    ],
    partitions,
    source,
    heartbeatTopic,
    lastBeat,
    readBeat,
    schemas,
    glance: (view) => checker.glance(view),
    verdict: (view) => checker.verdict(view),
    lasting: (view) => checker.lasting(view),
  };
}

type At = ReturnType<Postgres['transaction']>[number];

/** Trades of a few symbols, and what becomes of them in Postgres. */
class Market {
  readonly #random: Random;
  readonly #latenessMs: number;
  readonly #encode: (change: TradeChange) => Buffer;
  readonly #partitions: number;
  /** Rows of the table: what can be updated or deleted. */
  readonly #rows: { readonly place: number; row: TradeRow; lsn: bigint }[] = [];
  #serial = 0;

  constructor(random: Random, latenessMs: number, encode: (change: TradeChange) => Buffer, partitions: number) {
    this.#random = random;
    this.#latenessMs = latenessMs;
    this.#encode = encode;
    this.#partitions = partitions;
  }

  change(at: At): OutRecord {
    const random = this.#random;
    const dice = random.next();
    if (dice < 0.02) return this.#record(0, at, { op: 't', before: null, after: null });
    const place = dice < 0.2 && this.#rows.length > 0 ? random.int(0, this.#rows.length - 1) : -1;
    const known = this.#rows[place];
    // Changes of one row wait for each other, so their LSNs are in the order of their commits.
    if (known === undefined || known.lsn >= at.lsn) return this.#insert(at);
    const { row } = known;
    known.lsn = at.lsn;
    if (dice < 0.09) {
      this.#rows.splice(place, 1);
      return this.#record(known.place, at, { op: 'd', before: row, after: null });
    }
    const after = { ...row, price: this.#price(), size: this.#size() };
    known.row = after;
    return this.#record(known.place, at, { op: 'u', before: row, after });
  }

  #insert(at: At): OutRecord {
    const random = this.#random;
    const { symbol, place, behind } = random.pick(symbols);
    const bad = random.chance(0.03);
    const delay = this.#delay();
    const row: TradeRow = {
      venue: 'sim',
      symbol,
      trade_id: `t${this.#serial++}`,
      venue_sequence: random.chance(0.5) ? BigInt(random.int(1, 3)) : null,
      price: this.#price(),
      size: bad ? -1n : this.#size(),
      side: 'buy',
      executed_at: formatTimestamp(at.ts_us - behind - delay),
      conditions: null,
    };
    // Only what is a trade is changed later on: what becomes of a change of a bad row is not this test's matter.
    if (!bad && delay > -30_000_000n) this.#rows.push({ place, row, lsn: at.lsn });
    return this.#record(place, at, { op: 'c', before: null, after: row });
  }

  /** How long before its commit a trade happened, microseconds. */
  #delay(): bigint {
    const random = this.#random;
    const dice = random.next();
    const latenessUs = this.#latenessMs * 1_000;
    if (dice < 0.03) return -BigInt(random.int(30_000_001, 900_000_000));
    if (dice < 0.1) return BigInt(random.int(latenessUs, 400_000_000));
    if (dice < 0.14) return -BigInt(random.int(0, 30_000_000));
    return BigInt(random.int(0, latenessUs));
  }

  #price(): bigint {
    return BigInt(this.#random.int(1, 40)) * 1_000_000n;
  }

  #size(): bigint {
    return BigInt(this.#random.int(0, 20)) * 100_000n;
  }

  #record(place: number, source: At, change: Pick<TradeChange, 'op' | 'before' | 'after'>): OutRecord {
    return {
      topic: tradesTopic,
      partition: place % this.#partitions,
      key: Buffer.from(`${place}`),
      value: this.#encode({ ...change, source: { ...source, snapshot: 'false', txId: null } }),
      timestamp: source.ts_us / 1_000n,
    };
  }
}
