/** A replay whose input comes from the archive gives what one from the log gives, byte for byte; what is missing is named, never passed over. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Log } from '../../core/log/log.ts';
import { parseFilter } from '../../core/operations/filter.ts';
import { redrive } from '../../core/operations/redrive.ts';
import type { Processor } from '../../core/processor/define.ts';
import { Driver } from '../../core/testing/driver.ts';
import { anomaly } from '../../processors/anomaly/anomaly.ts';
import { Bench, candle, SETTINGS as RULES } from '../../processors/anomaly/testing/fixture.ts';
import { ohlcv } from '../../processors/ohlcv/ohlcv.ts';
import { Feed, SETTINGS, type TradeFields, time } from '../../processors/ohlcv/testing/fixture.ts';
import { openCold } from '../../proof/replay/cold/open.ts';
import { type ReplayOptions, type ReplayResult, replay } from '../../proof/replay/replay.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { objectsTopic } from '../../schemas/topics.ts';
import { Archived } from '../support/archived.ts';

const trades = 'cdc.public.trades';
const partitions = 2;
const processor = ohlcv(SETTINGS);
let driver: Driver<TradeChange>;
let feed: Feed;
let archive: Archived;

beforeEach(async () => {
  driver = await Driver.open(processor, { partitions, chunk: 7, commitRecords: 5 });
  feed = new Feed();
  archive = await Archived.open(driver, partitions);
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
});

const trade = (fields: TradeFields, partition = 0): bigint =>
  driver.send(feed.change(fields), { partition, timestamp: time(fields.log ?? fields.at) / 1000n });

/** Late, corrected, cancelled, repeated, redriven and bad records, snapshot rows, transaction markers, quiet hours and crashes. */
async function aDay(): Promise<void> {
  for (let i = 0; i < 60; i++) {
    const partition = i % partitions;
    const at = `12:${String(Math.floor(i / 5)).padStart(2, '0')}:${String((i % 5) * 11).padStart(2, '0')}.00000${i % 7}`;
    trade({ at, id: `t${i}`, price: `${100 + ((i * 7) % 13)}` }, partition);
    if (i % 8 === 0) trade({ at, id: `s${i}`, op: 'r', snapshot: i % 16 === 0 ? 'incremental' : 'first' }, partition);
    if (i % 9 === 0) trade({ at: '12:00:01', log: at, id: `late${i}`, price: '50' }, partition);
    if (i % 11 === 0)
      trade({ at, id: `t${i}`, op: 'u', price: '500', was: { price: `${100 + ((i * 7) % 13)}` } }, partition);
    if (i % 13 === 0) trade({ at, id: `t${i}`, op: 'd', price: `${100 + ((i * 7) % 13)}` }, partition);
    if (i % 17 === 0) driver.sendBytes(Buffer.from('poison'), { partition });
    if (i % 19 === 0) driver.sendBytes(null, { partition });
    if (i % 10 === 0) driver.log.appendMarker({ topic: trades, partition });
    // Archived, and refused by the processor: its letter has a copy of the record.
    if (i % 15 === 0) trade({ at, id: `bad${i}`, size: '-1' }, partition);
    if (i % 20 === 19) await driver.beat(time(`12:${String(Math.floor(i / 5)).padStart(2, '0')}:58`));
    if (i % 25 === 24) {
      await driver.run({ records: 3 });
      driver.crash();
    }
  }
  await driver.beat(time('12:20:00'));
  const again = feed.change({ at: '12:21:00', id: 'twice' });
  driver.send(again);
  driver.send(again);
  await driver.beat(time('18:00:00'));
  driver.log.create('redrives', 1);
  const options = { log: driver.log, schemas: driver.schemas, processor: 'ohlcv', maxAttempts: 3 };
  for await (const _ of redrive({ ...options, filter: parseFilter(['partition=0']), nowMicros: 1n }));
  trade({ at: '12:22:00', log: '18:00:01', id: 'last' });
  trade({ at: '12:22:00', log: '18:00:01', id: 'last1' }, 1);
  await driver.run();
}

/** Small cuts and larger ones, of which the last stops short of the log's end. */
async function archived(): Promise<void> {
  await archive.cut(trades, 0, { records: 7, to: 30n });
  driver.log.appendMarker({ topic: trades, partition: 0 });
  await archive.cut(trades, 0, { to: 40n });
  await archive.cut(trades, 1, { records: 3, to: 25n });
  await archive.cut(trades, 1);
}

type Options = Partial<ReplayOptions<TradeChange>>;

const fromLog = (options: Options = {}): Promise<ReplayResult> =>
  replay({ log: driver.log, schemas: driver.schemas, processor, verify: true, ...options });

async function fromCold(options: Options = {}, log: Log = driver.log) {
  const { schemas } = driver;
  const sources = await openCold({ log, schemas, store: archive.store, processor, ...options });
  await using cold = sources.log;
  const result = await replay({ ...sources, processor, verify: true, cold: true, ...options });
  return { result, parts: cold.parts, objects: cold.objects };
}

/** The log; before it answers what the archive is asked for, something happens. */
function asked(log: Log, method: 'committed' | 'ends', first: () => Promise<void>): Log {
  return new Proxy(log, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== 'function') return value;
      if (name !== method) return value.bind(target);
      return async (...args: readonly unknown[]) => {
        if (args.includes(method === 'ends' ? objectsTopic(trades) : trades)) await first();
        return value.apply(target, args);
      };
    },
  });
}

const hashes = ({ topics, records }: ReplayResult) => [
  records,
  ...topics.map(({ topic, given, hash }) => [topic, given, hash]),
];

describe('a replay from the archive', () => {
  test('gives the same records as one from the log, byte for byte, and switches to the log at the archive’s end', async () => {
    await aDay();
    await archived();
    const { result, parts, objects } = await fromCold();
    expect(result.examples).toEqual([]);
    expect(result.differences).toBe(0);
    const log = await fromLog();
    expect(hashes(result)).toEqual(hashes(log));
    for (const { topic, given, compared } of result.topics) expect([topic, compared]).toEqual([topic, given]);
    expect(log.topics.find(({ topic }) => topic === 'ohlcv.dead')?.given).toBeGreaterThan(6);
    const records = (partition: number, to: bigint) =>
      driver.log.records(trades, partition).filter(({ offset }) => offset < to).length;
    const ends = await driver.log.ends(trades);
    expect(parts).toEqual([
      { topic: trades, partition: 0, from: 0n, to: 40n, records: records(0, 40n) },
      { topic: trades, partition: 1, from: 0n, to: ends[1], records: records(1, ends[1] ?? 0n) },
    ]);
    expect(objects).toBe(archive.store.objects.size);
  });

  test('recognises what was delivered twice, and what was redriven, when all of it comes from the archive', async () => {
    await aDay();
    await archive.cut(trades, 0, { records: 20 });
    await archive.cut(trades, 1);
    const { result, parts } = await fromCold();
    expect(result.examples).toEqual([]);
    const log = await fromLog();
    expect(hashes(result)).toEqual(hashes(log));
    expect(parts.reduce((sum, { records }) => sum + records, 0)).toBe(log.records);
  });

  test('of any part of the history gives what the log gives of it', async () => {
    await aDay();
    await archived();
    for (const range of [
      { from: [13n, 8n], to: [33n, 30n] },
      { from: [39n, 0n] },
      { from: [41n, 40n] },
      { to: [1n, 0n] },
      { partition: 1 },
    ]) {
      const { result } = await fromCold(range);
      expect(result.differences).toBe(0);
      expect(hashes(result)).toEqual(hashes(await fromLog(range)));
    }
  });

  test('needs nothing of the log that retention has deleted, and compares the published records that are left', async () => {
    await aDay();
    await archived();
    const whole = await fromLog();
    driver.log.trim({ topic: trades, partition: 0 }, 38n);
    driver.log.trim({ topic: trades, partition: 1 }, 20n);
    const candles = driver.log.records('market.candles', 0);
    driver.log.trim({ topic: 'market.candles', partition: 0 }, candles[12]?.offset ?? 0n);
    await expect(fromLog()).rejects.toMatchObject({ code: 'REPLAY_IMPOSSIBLE' });
    const { result } = await fromCold();
    expect(result.examples).toEqual([]);
    expect(hashes(result)).toEqual(hashes(whole));
    const { given = 0, compared = 0 } = result.topics.find(({ topic }) => topic === 'market.candles') ?? {};
    expect(given - compared).toBeGreaterThanOrEqual(12);
    expect(compared).toBeGreaterThan(5);
  });

  test('still finds what nobody had published', async () => {
    await aDay();
    await archived();
    const other: Processor<TradeChange> = {
      ...processor,
      create: (context) =>
        processor.create({
          ...context,
          get logTime() {
            return context.logTime;
          },
          emit: (topic, key, value) =>
            context.emit(topic, key, topic === 'market.candles' ? { ...value, high: 77n } : value),
        }),
    };
    const { result } = await fromCold({ processor: other });
    expect(result.differences).toBeGreaterThan(0);
    expect(hashes(result)).not.toEqual(hashes(await fromLog()));
  });

  test('writes side topics whose letters anybody can read', async () => {
    await aDay();
    await archived();
    for (const topic of ['market.candles', 'ohlcv.late', 'ohlcv.dead']) driver.log.create(`${topic}.trial`, partitions);
    const { result } = await fromCold({ into: 'trial' });
    expect(result.differences).toBe(0);
    const letters = await driver.outputs<null, { schema_id: number | null }>('ohlcv.dead.trial');
    expect(letters.length).toBe(driver.log.records('ohlcv.dead').length);
    for (const { value } of letters) if (value?.schema_id != null) await driver.schemas.byId(value.schema_id);
  });

  test('finds the place of a time that only the archive has', async () => {
    for (let i = 0; i < 20; i++) trade({ at: `12:00:${String(i + 10)}`, id: `t${i}` });
    await driver.run();
    await archive.cut(trades, 0, { records: 6, to: 15n });
    driver.log.trim({ topic: trades, partition: 0 }, 12n);
    const sources = await openCold({ log: driver.log, schemas: driver.schemas, store: archive.store, processor });
    await using cold = sources.log;
    const at = (text: string) => cold.offsetsAt(trades, time(text) / 1000n, [12n, 0n]);
    expect(await at('12:00:00')).toEqual([0n, 0n]);
    expect(await at('12:00:17')).toEqual([7n, 0n]);
    expect(await at('12:00:22')).toEqual([12n, 0n]);
    expect(await cold.offsetsAt(trades, time('12:00:27') / 1000n, [17n, 0n])).toEqual([17n, 0n]);
    expect(await cold.starts(trades)).toEqual([0n, 0n]);
  });

  test.each(['committed', 'ends'] as const)(
    'beside a sink that goes on before the log is asked for what is %s misses nothing',
    async (method) => {
      for (const id of ['a', 'b']) trade({ at: '12:00:10', id });
      driver.sendBytes(Buffer.from('poison'));
      await driver.run();
      await archive.cut(trades, 0, { to: 1n });
      let isOn = true;
      const log = asked(driver.log, method, async () => {
        if (!isOn) return;
        isOn = false;
        await archive.cut(trades, 0, { to: 2n });
        await archive.cut(trades, 0);
      });
      const { result, parts } = await fromCold({}, log);
      expect(result.examples).toEqual([]);
      expect(hashes(result)).toEqual(hashes(await fromLog()));
      expect(parts.map(({ to }) => to)).toEqual([method === 'committed' ? 3n : 2n]);
    },
  );

  test('beside a sink whose next cut takes in what it had committed without a row misses nothing', async () => {
    trade({ at: '12:00:10', id: 'a' });
    driver.sendBytes(Buffer.from('poison'));
    await driver.run();
    await archive.cut(trades, 0, { to: 1n });
    await archive.cut(trades, 0);
    const log = asked(driver.log, 'ends', async () => {
      if ((await driver.log.ends(trades))[0] !== 2n) return;
      trade({ at: '12:00:20', id: 'b' });
      await driver.run();
      await archive.cut(trades, 0);
    });
    const { result, parts } = await fromCold({}, log);
    expect(result.examples).toEqual([]);
    expect(hashes(result)).toEqual(hashes(await fromLog()));
    expect(parts).toMatchObject([{ partition: 0, from: 0n, to: 3n }]);
  });

  test('registers nothing without --into', async () => {
    await aDay();
    await archived();
    const id = await driver.schemas.register('probe', { type: 'string' });
    await fromCold();
    expect(await driver.schemas.register('probe', { type: 'int' })).toBe(id + 1);
  });

  test('of several archived inputs takes them in the order that the journal tells', async () => {
    const settings = { ...RULES, lookback: 3, revisable: 3 };
    await using bench = await Bench.open({ settings, commitRecords: 3, chunk: 3 });
    const store = await Archived.open(bench.driver, 1);
    for (let i = 0; i < 30; i++) {
      const [close, volume] = i % 6 === 5 ? ['180', '90'] : ['100', '10'];
      bench.driver.send(candle({ at: i, close, volume }), { timestamp: BigInt(i * 60_000) });
      bench.trades({ id: `t${i}`, log: i * 60, symbol: 'A', sequence: BigInt(i + (i > 9 ? 2 : 0)) });
      if (i % 4 === 0) await bench.driver.run({ records: 3 });
      if (i === 17) bench.driver.crash();
    }
    await bench.driver.run();
    await store.cut('market.candles', 0, { records: 4, to: 22n });
    const { log, schemas } = bench.driver;
    const own = anomaly(settings);
    const expected = await replay({ log, schemas, processor: own, verify: true });
    log.trim({ topic: 'market.candles', partition: 0 }, 20n);
    const sources = await openCold({ log, schemas, store: store.store, processor: own });
    await using cold = sources.log;
    const result = await replay({ ...sources, processor: own, verify: true, cold: true });
    expect(result.examples).toEqual([]);
    expect(hashes(result)).toEqual(hashes(expected));
    expect(result.topics.find(({ topic }) => topic === 'market.anomalies')?.compared).toBeGreaterThan(3);
    expect(cold.parts).toMatchObject([{ topic: 'market.candles', to: 22n, records: 22 }]);
  });
});

describe('what a replay from the archive needs and does not find is named', () => {
  test('a file that is gone, or has other bytes', async () => {
    await aDay();
    await archived();
    const [key = ''] = [...archive.store.objects.keys()];
    const stored = archive.store.objects.get(key);
    archive.store.objects.delete(key);
    await expect(fromCold()).rejects.toMatchObject({ code: 'ARCHIVE_DAMAGED', message: expect.stringContaining(key) });
    archive.store.objects.set(key, { bytes: Buffer.from('PAR1'), metadata: stored?.metadata ?? {} });
    await expect(fromCold()).rejects.toMatchObject({ code: 'ARCHIVE_DAMAGED', message: expect.stringContaining(key) });
  });

  test('offsets that retention deleted before they were archived', async () => {
    await aDay();
    await archived();
    driver.log.trim({ topic: trades, partition: 0 }, 45n);
    await expect(fromCold()).rejects.toMatchObject({
      code: 'REPLAY_IMPOSSIBLE',
      message: expect.stringContaining('offsets 40 to 44 of cdc.public.trades/0'),
    });
  });

  test('a range that retention deleted before it was archived, and that the sink was made to pass over', async () => {
    await aDay();
    await archive.cut(trades, 0, { to: 10n });
    driver.log.trim({ topic: trades, partition: 0 }, 15n);
    await using writer = await driver.log.writer('an operator');
    const positions = [{ topic: trades, partition: 0, offset: 15n }];
    await writer.transact({ records: [], offsets: { group: 'millrace.parquet', positions } });
    await archive.cut(trades, 0);
    await expect(fromCold()).rejects.toMatchObject({
      code: 'REPLAY_IMPOSSIBLE',
      message: expect.stringMatching(/offsets 10 to 14 .*never listed/),
    });
  });

  test('records that the sink refused, when its letters are not kept any more', async () => {
    await aDay();
    await archived();
    driver.log.trim({ topic: 'parquet.dead', partition: 0 }, 2n);
    await expect(fromCold()).rejects.toMatchObject({ message: expect.stringContaining('parquet.dead has') });
  });

  test('the row before an update, when the archive was not to keep it', async () => {
    archive = await Archived.open(driver, partitions, { changeLogTopics: [] });
    trade({ at: '12:00:00', id: 'a' });
    await driver.run();
    await archive.cut(trades, 0);
    expect((await fromCold()).result.differences).toBe(0);
    trade({ at: '12:00:00', id: 'a', op: 'u', price: '7', was: { price: '100' } });
    await driver.run();
    await archive.cut(trades, 0);
    await expect(fromCold()).rejects.toMatchObject({ message: expect.stringContaining('offset 1') });
  });

  test('a field that the processor reads and no row has', async () => {
    const [input] = processor.inputs;
    const schema = structuredClone(input.schema) as { fields: { name: string; type: unknown; default?: unknown }[] };
    schema.fields.push({ name: 'ts_ns', type: ['null', 'long'], default: null });
    const curious = { ...processor, inputs: [{ ...input, schema }] } as Processor<TradeChange>;
    await expect(fromCold({ processor: curious })).rejects.toMatchObject({
      code: 'REPLAY_IMPOSSIBLE',
      message: expect.stringContaining('reads ts_ns'),
    });
  });

  test('a processor of which nothing is archived', async () => {
    const { log, schemas } = driver;
    const inputs = [{ ...processor.inputs[0], topic: 'somebody.elses' }];
    const foreign = { ...processor, inputs } as unknown as Processor<TradeChange>;
    await expect(openCold({ log, schemas, store: archive.store, processor: foreign })).rejects.toMatchObject({
      code: 'REPLAY_IMPOSSIBLE',
    });
  });
});
