/** A replay of a history gives what was published, whatever happened in it; every planted difference is named with its place and field. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { parseFilter } from '../../core/operations/filter.ts';
import { redrive } from '../../core/operations/redrive.ts';
import { parseTarget, planReset, reset } from '../../core/operations/reset.ts';
import { defineProcessor, type Processor } from '../../core/processor/define.ts';
import { Driver } from '../../core/testing/driver.ts';
import { ohlcv } from '../../processors/ohlcv/ohlcv.ts';
import { Feed, SETTINGS, type TradeFields, time } from '../../processors/ohlcv/testing/fixture.ts';
import { type ReplayOptions, type ReplayResult, replay } from '../../proof/replay/replay.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';

const processor = ohlcv(SETTINGS);
let driver: Driver<TradeChange>;
let feed: Feed;

beforeEach(async () => {
  driver = await Driver.open(processor, { partitions: 2, chunk: 7, commitRecords: 5 });
  feed = new Feed();
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
});

const run = (options: Partial<ReplayOptions<TradeChange>> = {}): Promise<ReplayResult> =>
  replay({ log: driver.log, schemas: driver.schemas, processor, verify: true, ...options });

const trade = (fields: TradeFields, partition = 0): bigint => driver.send(feed.change(fields), { partition });

/** Trades of twelve minutes in two partitions, with what a day brings: late, corrected, cancelled, repeated, poison, pauses, crashes. */
async function aDay(): Promise<void> {
  for (let i = 0; i < 60; i++) {
    const at = `12:${String(Math.floor(i / 5)).padStart(2, '0')}:${String((i % 5) * 11).padStart(2, '0')}.00000${i % 7}`;
    trade({ at, id: `t${i}`, price: `${100 + ((i * 7) % 13)}` }, i % 2);
    if (i % 9 === 0) trade({ at: '12:00:01', log: at, id: `late${i}`, price: '50' }, i % 2);
    if (i % 11 === 0) trade({ at, id: `t${i}`, op: 'u', price: '500' }, i % 2);
    if (i % 13 === 0) trade({ at, id: `t${i}`, op: 'd' }, i % 2);
    if (i % 17 === 0) driver.sendBytes(Buffer.from('poison'), { partition: i % 2 });
    if (i % 10 === 0) driver.log.appendMarker({ topic: 'cdc.public.trades', partition: i % 2 });
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
}

async function published(): Promise<{ candle: Candle; key: object; offset: bigint; partition: number }[]> {
  const found = await driver.outputs<object, Candle>('market.candles');
  return found.map(({ key, value, offset, partition }) => ({
    candle: value as Candle,
    key: key as object,
    offset,
    partition,
  }));
}

async function forge(candle: Candle, partition = 0): Promise<void> {
  const { venue, symbol, interval, window_start } = candle;
  const keys = await AvroEncoder.open<object>(driver.schemas, 'market.candles-key', contracts.candle_key);
  const values = await AvroEncoder.open<Candle>(driver.schemas, 'market.candles-value', contracts.candle);
  driver.log.append({
    topic: 'market.candles',
    partition,
    key: keys.encode({ venue, symbol, interval, window_start }),
    value: values.encode(candle),
    timestamp: 0n,
  });
}

describe('a replay', () => {
  test('puts the same records aside whose fold failed halfway, and undoes the same', async () => {
    const failing = defineProcessor<TradeChange>({
      ...processor,
      onError: 'deadLetter',
      create(context) {
        const fold = processor.create(context);
        const record = fold.record.bind(fold);
        fold.record = (each) => {
          record(each);
          if (each.offset % 7n === 3n) throw new RangeError('halfway');
        };
        return fold;
      },
    });
    await driver[Symbol.asyncDispose]();
    driver = await Driver.open(failing, { partitions: 2, chunk: 7, commitRecords: 5 });
    await aDay();
    const letters = (await driver.dead()).filter(({ value }) => value?.reason === 'FOLD_FAILED');
    expect(letters.length).toBeGreaterThan(5);
    const outcome = await replay({ log: driver.log, schemas: driver.schemas, processor: failing, verify: true });
    expect(outcome).toMatchObject({ differences: 0 });
    const compared = outcome.topics.find(({ topic }) => topic === 'ohlcv.dead')?.compared;
    expect(compared).toBeGreaterThanOrEqual(letters.length);
  });

  test('works with the settings of then, through every change of them; with those of now it shows what they would have changed', async () => {
    trade({ at: '12:00:10', id: 'a' });
    trade({ at: '12:01:30', id: 'b' });
    await driver.deploy(ohlcv({ ...SETTINGS, watermarkDelayMs: 40_000, intervals: ['1m', '15m'] }));
    trade({ at: '12:01:01', log: '12:01:50', id: 'c' });
    trade({ at: '12:02:30', id: 'd' });
    await driver.run();
    await driver.deploy(ohlcv({ ...SETTINGS, allowedLatenessMs: 600_000 }));
    trade({ at: '12:00:20', log: '12:02:40', id: 'e' });
    trade({ at: '12:03:30', id: 'f' });
    await driver.beat(time('13:00:00'));
    expect(await run()).toMatchObject({ differences: 0, records: 6 });
    expect((await run({ settings: 'now' })).differences).toBeGreaterThan(0);
  });

  test('of settings that were recorded under former names has no differences, and a task goes on without new ones', async () => {
    const recorded = async () =>
      (await driver.outputs<null, { kind: string; settings: string }>('ohlcv.journal'))
        .filter(({ value, partition }) => value?.kind === 'SETTINGS' && partition === 0)
        .map(({ value }) => value?.settings);
    const former = (horizonMs: number, latenessMs: number): Processor<TradeChange> => {
      const { watermarkDelayMs: _, ...others } = SETTINGS;
      const made = ohlcv({ ...others, allowedLatenessMs: horizonMs, watermarkDelayMs: latenessMs });
      const remake = made.settings?.remake as () => Processor<TradeChange>;
      return { ...made, settings: { value: { ...others, horizonMs, latenessMs }, remake } };
    };
    await driver.deploy(former(0, 40_000));
    trade({ at: '12:00:10', id: 'a' });
    trade({ at: '12:01:30', id: 'b' });
    trade({ at: '12:01:01', log: '12:01:50', id: 'c' });
    await driver.run();
    await driver.deploy(former(600_000, 5_000));
    trade({ at: '12:02:30', id: 'd' });
    await driver.run();
    const before = await recorded();
    expect(before).toEqual([
      expect.stringContaining('"latenessMs":40000'),
      expect.stringContaining('"latenessMs":5000'),
    ]);

    const { watermarkDelayMs, ...others } = SETTINGS;
    const now = ohlcv({ ...others, allowedLatenessMs: 600_000, watermarkDelayMs });
    await driver.deploy(now);
    trade({ at: '12:00:20', log: '12:02:40', id: 'e' });
    trade({ at: '12:03:30', id: 'f' });
    await driver.run();
    expect(await recorded()).toEqual(before);
    await driver.deploy(ohlcv({ ...others, allowedLatenessMs: 0, watermarkDelayMs }));
    trade({ at: '12:00:20', log: '12:03:40', id: 'g' });
    await driver.beat(time('13:00:00'));
    expect(await recorded()).toEqual([...before, expect.stringContaining('"allowedLatenessMs":0')]);
    expect(await run({ processor: now })).toMatchObject({ differences: 0, records: 7 });
  });

  test('of a day with late, corrected, cancelled, repeated and bad records, crashes and quiet hours has no differences', async () => {
    await aDay();
    const { differences, examples, topics, beats, records } = await run();
    expect(examples).toEqual([]);
    expect(differences).toBe(0);
    const candles = topics.find(({ topic }) => topic === 'market.candles');
    expect(candles?.compared).toBe((await published()).length);
    expect(candles?.compared).toBe(candles?.given);
    expect(topics.find(({ topic }) => topic === 'ohlcv.dead')?.compared).toBe(4);
    expect(beats).toBeGreaterThan(2);
    expect(records).toBeGreaterThan(70);
  });

  test('leaves no trace: no record, no offset, no schema', async () => {
    await aDay();
    const topics = ['market.candles', 'ohlcv.late', 'ohlcv.dead', 'ohlcv.journal', 'ohlcv.changelog'];
    const count = () => topics.map((topic) => driver.log.records(topic).length);
    const before = count();
    const schema = await driver.schemas.register('probe', { type: 'string' });
    await run();
    expect(count()).toEqual(before);
    expect(await driver.schemas.register('probe', { type: 'int' })).toBe(schema + 1);
  });

  test('compares only what its range has caused', async () => {
    await aDay();
    const all = await run();
    const parts = [
      await run({ to: [20n, 20n] }),
      await run({ from: [20n, 20n], to: [30n, 25n] }),
      await run({ from: [30n, 25n] }),
    ];
    const compared = (each: ReplayResult) => each.topics.reduce((sum, topic) => sum + topic.compared, 0);
    expect(parts.map(({ differences }) => differences)).toEqual([0, 0, 0]);
    expect(parts.reduce((sum, each) => sum + compared(each), 0)).toBe(compared(all));
    expect(Math.min(...parts.map(compared))).toBeGreaterThan(0);
  });

  test('names what other code makes of the same history, field by field, and nothing outside the range', async () => {
    await aDay();
    const other = ohlcv({ ...SETTINGS, watermarkDelayMs: 0 });
    expect((await run({ processor: other, settings: 'now' })).differences).toBeGreaterThan(0);
    const dearer: Processor<TradeChange> = {
      ...processor,
      version: '2',
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
    const { examples, differences } = await run({ processor: dearer, to: [12n, 0n] });
    expect(differences).toBeGreaterThan(0);
    expect(examples[0]).toMatch(/^market\.candles\/0 offset \d+ \{"venue":"bitstamp",.*\}: high was \d+, replayed 77$/);
    expect((await run({ processor: { ...processor, version: '2' } })).differences).toBe(0);
  });

  test('finds a candle that nobody can explain, and one that is missing', async () => {
    await aDay();
    const [first] = await published();
    await forge({ ...(first?.candle as Candle), symbol: 'FORGED' });
    expect((await run()).examples).toEqual([
      expect.stringMatching(/^market\.candles\/0 offset \d+ .*FORGED.*: published, the replay does not give it$/),
    ]);
    const gone = (await published()).find(({ partition }) => partition === 1)?.offset;
    const log = driver.log;
    const records = log.fetcher.bind(log);
    log.fetcher = () => {
      const inner = records();
      return {
        fetch: async (positions, options) =>
          (await inner.fetch(positions, options)).map((each) =>
            each.topic === 'market.candles'
              ? { ...each, records: each.records.filter(({ offset }) => offset !== gone) }
              : each,
          ),
        [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
      };
    };
    const { examples } = await run({ partition: 1 });
    expect(examples).toEqual([expect.stringMatching(/the replay gives it, it was not published$/)]);
  });

  test('writes side topics on request, for its range, with the keys and values that were published', async () => {
    await aDay();
    for (const topic of ['market.candles', 'ohlcv.late', 'ohlcv.dead']) driver.log.create(`${topic}.trial`, 2);
    await run({ into: 'trial', verify: false });
    const plain = (text: object) => JSON.stringify(text, (_, each) => (typeof each === 'bigint' ? `${each}` : each));
    const side = await driver.outputs<object, Candle>('market.candles.trial');
    const own = await driver.outputs<object, Candle>('market.candles');
    expect(side.map(({ key, value, timestamp }) => plain([key, value, timestamp]))).toEqual(
      own.map(({ key, value, timestamp }) => plain([key, value, timestamp])),
    );
    expect(driver.log.records('ohlcv.dead.trial')).toHaveLength(4);
  });

  test('follows redriven records, which were sent to the input and not published by the processor', async () => {
    await aDay();
    driver.log.create('redrives', 1);
    const options = { log: driver.log, schemas: driver.schemas, processor: 'ohlcv', maxAttempts: 3 };
    for await (const _ of redrive({ ...options, filter: parseFilter(['partition=0']), nowMicros: 1n }));
    await driver.run();
    const { differences, topics } = await run();
    expect(differences).toBe(0);
    expect(topics.find(({ topic }) => topic === 'ohlcv.dead')?.compared).toBe(6);
  });

  test('of a late part of a long history begins with the snapshot of the day before, not with the first record', async () => {
    for (let day = 1; day <= 4; day++) {
      // One statement of many rows at midnight: outputs of the same millisecond before and after the snapshot.
      for (let i = 0; i < 9; i++) {
        trade({ at: '2025-06-01T00:00:01Z', log: `2025-06-0${day}T00:00:02Z`, id: `midnight${day}-${i}` });
      }
      for (let i = 0; i < 20; i++) {
        const at = `2025-06-0${day}T${String(i).padStart(2, '0')}:00:0${i % 7}Z`;
        trade({ at, id: `${day}-${i}`, price: `${100 + ((i * 7) % 13)}` });
        if (i % 6 === 0) driver.sendBytes(Buffer.from(`poison ${day} ${i}`));
        if (i % 5 === 0) trade({ at: `2025-06-0${day}T00:00:01Z`, log: at, id: `late${day}-${i}` });
        if (i % 7 === 0) await driver.beat(time(`2025-06-0${day}T${String(i).padStart(2, '0')}:40:00Z`));
        if (i % 9 === 0) driver.crash();
      }
    }
    await driver.beat(time('2025-06-05T12:00:00Z'));
    const all = await run();
    const counted = async (from: bigint) => {
      const { differences, examples, records, topics } = await run({ from: [from, 0n] });
      expect(examples).toEqual([]);
      expect(differences).toBe(0);
      const candles = topics.find(({ topic }) => topic === 'market.candles');
      expect(candles?.compared).toBe(candles?.given);
      expect(candles?.compared).toBeGreaterThan(0);
      expect(topics.find(({ topic }) => topic === 'ohlcv.dead')?.compared).toBeGreaterThan(0);
      return records;
    };
    expect(await counted(5n)).toBe(all.records);
    expect(await counted(60n)).toBeLessThan(all.records);
    const last = await counted(90n);
    expect(last).toBeLessThan(all.records / 2);
    driver.log.starts = async (topic) => [topic === 'cdc.public.trades' ? 50n : 0n, 0n];
    expect(await counted(90n)).toBe(last);
    await expect(run({ from: [20n, 0n] })).rejects.toMatchObject({ code: 'REPLAY_IMPOSSIBLE' });
  });

  test('begins anew after a reset', async () => {
    await aDay();
    driver.crash();
    const task = {
      log: driver.log,
      schemas: driver.schemas,
      groups: { members: async () => [], offsetsAt: async () => [] },
      processor: 'ohlcv',
      inputs: ['cdc.public.trades'],
      outputs: ['market.candles', 'ohlcv.late', 'ohlcv.dead'],
      target: parseTarget('10'),
    };
    await reset(task, await planReset(task), 1n);
    await driver.run();
    await driver.beat(time('18:00:00'));
    const { differences, topics } = await run();
    expect(differences).toBe(0);
    expect(topics.find(({ topic }) => topic === 'market.candles')?.compared).toBeGreaterThan(5);
  });

  test('whose beginning is not kept any more is refused with what to do', async () => {
    await aDay();
    driver.log.starts = async () => [5n, 0n];
    await expect(run()).rejects.toMatchObject({ code: 'REPLAY_IMPOSSIBLE' });
  });
});

interface Tick {
  readonly id: string;
  readonly price: bigint;
}

test('a history of several inputs and a table is replayed in the order that the journal tells', async () => {
  const tick = {
    type: 'record',
    name: 'Tick',
    fields: [
      { name: 'id', type: 'string' },
      { name: 'price', type: 'long' },
    ],
  };
  const key = { type: 'record', name: 'Key', fields: [{ name: 'id', type: 'string' }] };
  const joined = defineProcessor<Tick>({
    name: 'joined',
    version: '1',
    inputs: [
      { topic: 'left', schema: tick, kind: 'derived' },
      { topic: 'right', schema: tick, kind: 'derived' },
    ],
    tables: [
      {
        topic: 'factors',
        keySchema: key,
        schema: { type: 'record', name: 'Factor', fields: [{ name: 'by', type: 'long' }] },
      },
    ],
    outputs: [{ topic: 'out', keySchema: key, valueSchema: tick }],
    stores: [{ name: 'state', schema: { type: 'long' } }],
    create: (context) => {
      const store = context.store<bigint>('state');
      return {
        table: ({ value }) => store.set('factor', (value as { by: bigint } | null)?.by ?? 1n),
        record({ topic, value }) {
          if (topic === 'right') store.set('last', value.price);
          else {
            const price = value.price * (store.get('factor') ?? 1n) + (store.get('last') ?? 0n);
            context.emit('out', { id: value.id }, { id: value.id, price });
          }
        },
      };
    },
  });
  await using each = await Driver.open(joined, { chunk: 2, commitRecords: 3 });
  each.table('factors', { id: 'f' }, { by: 10n });
  for (let i = 0; i < 40; i++) {
    const timestamp = BigInt((i * 7) % 40);
    each.send({ id: `${i % 3}`, price: BigInt(i) }, { topic: i % 2 === 0 ? 'left' : 'right', timestamp });
    if (i % 8 === 0) each.table('factors', { id: 'f' }, i % 16 === 0 ? null : { by: BigInt(i) });
    if (i % 5 === 0) await each.run();
    if (i % 12 === 0) each.crash();
  }
  await each.run();
  const options = { log: each.log, schemas: each.schemas, verify: true } as const;
  const { differences, examples, topics, records } = await replay({ ...options, processor: joined });
  expect(examples).toEqual([]);
  expect(differences).toBe(0);
  expect(topics[0]).toMatchObject({ topic: 'out', given: 20, compared: 20 });
  expect(records).toBe(40);
});

test('a replay fires the timers that fired, from the first record on and from a snapshot that holds some', async () => {
  const tick = { type: 'record', name: 'Tick', fields: [{ name: 'key', type: 'string' }] };
  const hour = 3_600_000_000n;
  const alarms = defineProcessor<{ readonly key: string }>({
    name: 'alarms',
    version: '1',
    inputs: [{ topic: 'ticks', schema: tick, kind: 'derived' }],
    outputs: [{ topic: 'rung', keySchema: null, valueSchema: tick }],
    stores: [],
    timers: 'stored',
    create: ({ timers, emit }) => ({
      record: ({ value: { key }, logTime }) => timers.set(key, logTime + 7n * hour),
      onTimer: (key, at) => emit('rung', null, { key: `${key} ${at / hour}` }),
    }),
  });
  await using each = await Driver.open(alarms, { chunk: 2, commitRecords: 3 });
  for (let i = 1; i <= 60; i++) {
    const at = BigInt(i) * hour;
    each.send({ key: `k${i % 11}` }, { timestamp: at / 1_000n });
    if (i % 4 === 0) await each.beat(at + hour / 2n);
    if (i % 9 === 0) each.crash();
  }
  await each.beat(100n * hour);
  expect(each.log.records('alarms.snapshots').length).toBeGreaterThan(0);
  const options = { log: each.log, schemas: each.schemas, processor: alarms, verify: true } as const;
  const whole = await replay(options);
  expect([whole.examples, whole.records, whole.topics[0]?.compared]).toEqual([[], 60, whole.topics[0]?.given]);
  const late = await replay({ ...options, from: [56n] });
  expect(late.examples).toEqual([]);
  expect(late.topics[0]?.compared).toBeGreaterThan(0);
  expect(late.records).toBeLessThan(60);
});

test('an error of the code under trial ends the replay as it would end the processor', async () => {
  await aDay();
  const broken: Processor<TradeChange> = {
    ...processor,
    create: () => ({
      record() {
        throw new MillraceError('STATE_CORRUPT', 'no');
      },
    }),
  };
  await expect(run({ processor: broken })).rejects.toMatchObject({ code: 'STATE_CORRUPT' });
});
