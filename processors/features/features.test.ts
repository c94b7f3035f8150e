import { describe, expect, test } from '@jest/globals';
import { groupOf } from '../../core/runtime/runner.ts';
import { Driver } from '../../core/testing/driver.ts';
import { features } from './features.ts';
import { creates, deadLetters, Feed, lateTrades, lines, open, rows, SETTINGS, time } from './fixture.ts';
import type { FeaturesSettings } from './settings.ts';

describe('a row of features', () => {
  test('has returns, volumes, sides and counts of each window, of the trades before its instant', async () => {
    await using driver = await open(
      creates(
        new Feed(),
        { at: '12:00:10', price: '100', size: '2' },
        { at: '12:00:50', price: '110', side: 'sell' },
        { at: '12:01:30', price: '99', side: 'sell' },
        { at: '12:02:59.999999', price: '121', side: 'unknown' },
        { at: '12:03:00', price: '500' },
        { at: '12:03:05', price: '500' },
      ),
    );
    expect(await lines(driver)).toEqual([
      '12:01:00 p110 | 1m r- v3 b2 s1 i0.33333333 n2 | 3m r- v3 b2 s1 i0.33333333 n2',
      '12:02:00 p99 | 1m r-0.1 v1 b0 s1 i-1 n1 | 3m r- v4 b2 s2 i0 n3',
      '12:03:00 p121 | 1m r0.2222222222222222 v1 b0 s0 i- n1 | 3m r- v5 b2 s2 i0 n4',
    ]);
    const [first] = await driver.outputs<object, object>('market.features');
    expect(first?.key).toEqual({ venue: 'bitstamp', symbol: 'BTC/USD', feature_set: 'test', as_of: time('12:01:00') });
    expect((await rows(driver))[2]).toMatchObject({
      price_time: time('12:02:59.999999'),
      provenance: { processor_version: '3', from_offset: 0n, to_offset: 3n, to_lsn: 1004n },
    });
  });

  test('has the volatility of the steps: the square root of the sum of their squared returns', async () => {
    await using driver = await open(
      creates(
        new Feed(),
        { at: '12:00:10', price: '100' },
        { at: '12:01:10', price: '110' },
        { at: '12:02:10', price: '99' },
        { at: '12:03:10', price: '99' },
        { at: '12:04:10', price: '99' },
      ),
    );
    const last = (await rows(driver)).at(-1);
    expect(last?.as_of).toBe(time('12:04:00'));
    expect(last?.windows.map(({ length, realised_variance }) => [length, realised_variance])).toEqual([
      ['1m', 0n],
      ['3m', 200_000_000_000_000n],
    ]);
    expect(last?.windows[1]?.realised_volatility).toBe(14_142_136n);
  });

  test('has the volume by price over the longest window, in buckets as wide as the price demands', async () => {
    await using driver = await open(
      creates(
        new Feed(),
        { at: '12:00:10', price: '97345.5', size: '2' },
        { at: '12:00:11', price: '97999', size: '1' },
        { at: '12:01:10', price: '0.52138', size: '4' },
        { at: '12:01:11', price: '-3.77', size: '5' },
        { at: '12:02:10', price: '0' },
        { at: '12:03:10' },
      ),
    );
    const last = (await rows(driver)).at(-1);
    const units = (text: number) => BigInt(Math.round(text * 1e8));
    expect(last?.profile.map(({ price_from, price_to, volume }) => [price_from, price_to, volume])).toEqual([
      [units(-3.8), units(-3.7), units(5)],
      [0n, 0n, units(1)],
      [units(0.52), units(0.53), units(4)],
      [units(97_000), units(98_000), units(3)],
    ]);
  });

  test('has no return where the price at the start is not known, or a ratio means nothing', async () => {
    await using driver = await open(
      creates(
        new Feed(),
        { at: '12:00:10', price: '0' },
        { at: '12:01:10', price: '-1' },
        { at: '12:02:10', price: '5' },
        { at: '12:03:10', price: '6' },
        { at: '12:04:10' },
      ),
    );
    const returns = (await rows(driver)).map(({ windows }) => windows.map((window) => window.return !== null));
    expect(returns).toEqual([
      [false, false],
      [false, false],
      [false, false],
      [true, false],
    ]);
  });

  test('is there for each step that has a trade in reach of its longest window, and for no other', async () => {
    await using driver = await open(
      creates(new Feed(), { at: '12:00:10', price: '100' }, { at: '12:20:30', price: '200' }, { at: '12:21:05.1' }),
    );
    expect(await lines(driver)).toEqual([
      '12:01:00 p100 | 1m r- v1 b1 s0 i1 n1 | 3m r- v1 b1 s0 i1 n1',
      '12:02:00 p100 | 1m r0 v0 b0 s0 i- n0 | 3m r- v1 b1 s0 i1 n1',
      '12:03:00 p100 | 1m r0 v0 b0 s0 i- n0 | 3m r- v1 b1 s0 i1 n1',
      '12:21:00 p200 | 1m r1 v1 b1 s0 i1 n1 | 3m r1 v1 b1 s0 i1 n1',
    ]);
  });

  test('is made before a trade that is far beyond it, also where no log time passes: in a load of old trades', async () => {
    const feed = new Feed();
    const trades = ['12:00:10', '12:01:10', '12:02:03', '12:20:30', '12:21:05.1'];
    await using driver = await open(trades.map((at) => feed.create({ at }, '13:00:00')));
    const made = (await rows(driver)).map(({ as_of, windows }) => [as_of, windows[1]?.trade_count]);
    expect(made).toEqual([
      [time('12:01:00'), 1n],
      [time('12:02:00'), 2n],
      [time('12:03:00'), 3n],
      [time('12:04:00'), 2n],
      [time('12:05:00'), 1n],
      [time('12:21:00'), 1n],
    ]);
  });

  test('is made when log time has passed for so long, by heartbeats alone', async () => {
    await using driver = await open(creates(new Feed(), { at: '12:00:50' }));
    await driver.beat(time('12:01:04.999999'));
    expect(await lines(driver)).toEqual([]);
    await driver.beat(time('12:01:05'));
    expect(await lines(driver)).toHaveLength(1);
    await driver.beat(time('13:00:00'));
    expect(await lines(driver)).toHaveLength(3);
  });

  test('of one symbol knows nothing of the others, nor is it late because of them', async () => {
    const feed = new Feed();
    const years = feed.create({ at: '15:00:00', symbol: 'ETH/USD' });
    const trades = creates(feed, { at: '12:00:10', symbol: 'A' }, { at: '12:01:10', symbol: 'A' });
    const at = { ts_us: time('15:00:00') };
    const loaded = trades.map((each) => ({ ...each, source: { ...each.source, ...at } }));
    await using driver = await open([years, ...loaded]);
    expect(await lines(driver)).toEqual(['12:01:00 p100 | 1m r- v1 b1 s0 i1 n1 | 3m r- v1 b1 s0 i1 n1']);
    expect(await lateTrades(driver)).toEqual([]);
  });
});

describe('a late trade', () => {
  test('changes no row that is out, counts in later ones, and is in the late topic', async () => {
    const feed = new Feed();
    await using driver = await open([
      ...creates(feed, { at: '12:00:10', price: '100' }, { at: '12:01:10', price: '110' }),
      feed.create({ at: '12:00:40', price: '105', size: '7', id: 'late' }, '12:01:20'),
      ...creates(feed, { at: '12:02:10' }),
    ]);
    expect(await lines(driver)).toEqual([
      '12:01:00 p100 | 1m r- v1 b1 s0 i1 n1 | 3m r- v1 b1 s0 i1 n1',
      '12:02:00 p110 | 1m r0.0476190476190476 v1 b1 s0 i1 n1 | 3m r- v9 b9 s0 i1 n3',
    ]);
    expect(await lateTrades(driver)).toMatchObject([
      {
        trade_id: 'late',
        reason: 'LATE',
        effect: 'APPLIED',
        operation: 'CREATE',
        interval: '1m',
        window_start: time('12:00:00'),
        lateness_us: 35_000_000n,
      },
    ]);
  });

  test('that no window can reach any more is in the late topic as not applied', async () => {
    const feed = new Feed();
    await using driver = await open([
      ...creates(feed, { at: '12:00:10' }, { at: '12:10:10' }),
      feed.create({ at: '11:00:00', id: 'late' }, '12:10:11'),
      ...creates(feed, { at: '12:11:10' }),
    ]);
    expect((await lateTrades(driver)).map(({ trade_id, effect }) => [trade_id, effect])).toEqual([
      ['late', 'NOT_APPLIED'],
    ]);
    expect((await rows(driver)).at(-1)?.windows[1]?.trade_count).toBe(1n);
  });

  test('of a quiet symbol begins its rows again from the next instant on', async () => {
    const feed = new Feed();
    await using driver = await open(creates(feed, { at: '12:00:10' }));
    await driver.beat(time('12:30:00'));
    expect(await lines(driver)).toHaveLength(3);
    driver.send(feed.create({ at: '12:28:10', price: '300' }, '12:30:01'));
    await driver.beat(time('13:00:00'));
    expect((await rows(driver)).slice(3).map(({ as_of }) => as_of)).toEqual([time('12:30:00'), time('12:31:00')]);
  });
});

describe('the processor', () => {
  test.each([
    ['a truncated table', { op: 't', before: null, after: null }],
    ['a change without its row', { op: 'c', before: null, after: null }],
    ['an update without the row before', { op: 'u', before: null }],
  ])('makes a dead letter of %s', async (_, fields) => {
    const feed = new Feed();
    await using driver = await open([{ ...feed.create({ at: '12:00:00' }), ...fields }]);
    expect((await deadLetters(driver)).map(({ reason }) => reason)).toEqual(['BAD_RECORD']);
  });

  test('leaves rows of an incremental snapshot out: they repeat what the stream had', async () => {
    const change = new Feed().create({ at: '12:00:00' });
    const source = { ...change.source, snapshot: 'incremental' };
    await using driver = await open([{ ...change, op: 'r', source }]);
    await driver.beat(time('13:00:00'));
    expect(await rows(driver)).toEqual([]);
    expect((await lateTrades(driver)).map(({ reason, effect }) => [reason, effect])).toEqual([
      ['SNAPSHOT', 'NOT_APPLIED'],
    ]);
  });

  test.each([
    ['a name that is no name', { set: 'A b' }, 'set'],
    ['no window', { windows: [] }, 'at least one'],
    ['a window that is no multiple of the step', { windows: ['90s'] }, 'no multiple'],
    ['a window of too many steps', { step: '1s', windows: ['1h'] }, '1440 steps'],
    ['two windows of one length', { windows: ['60s', '1m'] }, 'the same'],
    ['no digits', { profileDigits: 0 }, 'profileDigits'],
    ['half a millisecond', { watermarkDelayMs: 0.5 }, 'watermarkDelayMs'],
  ])('refuses %s', (_, settings, message) => {
    expect(() => features({ ...SETTINGS, ...settings })).toThrow(message);
  });

  test('refuses state of another step, and goes on with shorter windows', async () => {
    const feed = new Feed();
    await using driver = await open(creates(feed, { at: '12:00:10' }, { at: '12:02:10' }));
    const reopen = async (settings: Partial<FeaturesSettings>) => {
      const other = await Driver.open(features({ ...SETTINGS, ...settings }));
      for (const topic of ['features.changelog', 'cdc.public.trades']) {
        for (const { key, value, timestamp } of driver.log.records(topic, 0)) {
          other.log.append({ topic, partition: 0, key, value, timestamp });
        }
      }
      const positions = [
        { topic: 'cdc.public.trades', partition: 0, offset: (await driver.log.ends('cdc.public.trades'))[0] as bigint },
      ];
      await using writer = await other.log.writer('copied');
      await writer.transact({ records: [], offsets: { group: groupOf('features'), positions } });
      await other.run();
    };
    await reopen({ windows: ['1m'] });
    await expect(reopen({ step: '30s' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(reopen({ windows: ['5m'] })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
