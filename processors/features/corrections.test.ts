import { describe, expect, test } from '@jest/globals';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { features } from './features.ts';
import { creates, deadLetters, Feed, lateTrades, lines, open, rows, SETTINGS, time } from './fixture.ts';

describe('a correction', () => {
  const first = { at: '12:00:10', id: 'a', price: '100', size: '2' };
  const second = { at: '12:00:20', id: 'b', price: '104', size: '3', side: 'sell' };
  const third = { at: '12:00:30', id: 'c', price: '108', size: '4' };
  const other = { at: '12:00:40', id: 'x', price: '7', size: '9', symbol: 'ETH/USD' };
  const after = { at: '12:02:10', id: 'z' };

  test('counts in later rows as if the trade had always been so', async () => {
    const feed = new Feed();
    await using driver = await open([
      ...creates(feed, first, second, third),
      feed.update(second, { ...second, size: '5', price: '106' }, '12:00:50'),
      ...creates(feed, after),
    ]);
    expect(await lines(driver)).toEqual([
      '12:01:00 p108 | 1m r- v11 b6 s5 i0.09090909 n3 | 3m r- v11 b6 s5 i0.09090909 n3',
      '12:02:00 p108 | 1m r0 v0 b0 s0 i- n0 | 3m r- v11 b6 s5 i0.09090909 n3',
    ]);
    expect(await lateTrades(driver)).toMatchObject([
      { trade_id: 'b', reason: 'UPDATE', operation: 'UPDATE', effect: 'APPLIED', interval: '1m' },
    ]);
  });

  test('of a published step changes later rows only', async () => {
    const feed = new Feed();
    await using driver = await open([
      ...creates(feed, first, second, { at: '12:01:10', id: 'y', price: '50' }),
      feed.delete(first, '12:01:20'),
      ...creates(feed, after),
    ]);
    expect((await rows(driver)).map(({ windows }) => windows[1]?.trade_count)).toEqual([2n, 2n]);
    expect((await lateTrades(driver)).map(({ reason, effect }) => [reason, effect])).toEqual([['DELETE', 'APPLIED']]);
  });

  test('of the last trade of a step reads its trades again, also after duplicates and corrections', async () => {
    const feed = new Feed();
    const created = creates(feed, first, other, second, third);
    const corrected = feed.update(second, { ...second, price: '103', size: '1' }, '12:00:45');
    await using driver = await open([
      ...created,
      corrected,
      ...created,
      feed.delete(third, '12:00:50'),
      ...creates(feed, after),
    ]);
    expect((await lines(driver)).filter((each) => each.includes('p103'))[0]).toBe(
      '12:01:00 p103 | 1m r- v3 b2 s1 i0.33333333 n2 | 3m r- v3 b2 s1 i0.33333333 n2',
    );
    const effects = (await lateTrades(driver)).map(({ reason, effect }) => `${reason} ${effect}`);
    expect(effects.filter((each) => each === 'DUPLICATE NOT_APPLIED')).toHaveLength(4);
    expect(effects.filter((each) => !each.startsWith('DUPLICATE'))).toEqual(['UPDATE APPLIED', 'DELETE APPLIED']);
  });

  test('of the last trade of a step reads its trades again past a dead letter', async () => {
    const feed = new Feed();
    await using driver = await open([
      ...creates(feed, first, { at: '12:00:30', id: 'bad', size: '-1' }, second, third),
      feed.delete(third, '12:00:50'),
      ...creates(feed, after),
    ]);
    expect((await deadLetters(driver)).map(({ reason }) => reason)).toEqual(['BAD_RECORD']);
    expect((await rows(driver))[0]?.windows[0]?.trade_count).toBe(2n);
  });

  test('can move a trade to another step, also the only one of its step', async () => {
    const feed = new Feed();
    await using driver = await open([
      ...creates(feed, first),
      feed.update(first, { ...first, at: '12:01:05', id: 'a' }, '12:01:00'),
      ...creates(feed, after),
    ]);
    expect((await rows(driver)).map(({ as_of, windows }) => [as_of, windows[1]?.trade_count])).toEqual([
      [time('12:02:00'), 1n],
    ]);
  });

  test('of a trade that was a dead letter takes nothing out, and brings its new version', async () => {
    const feed = new Feed();
    const future = { ...first, id: 'future', at: '12:00:59', size: '100' };
    await using driver = await open([
      feed.create(future, '12:00:00'),
      ...creates(feed, { ...second, at: '12:00:50' }, { ...third, at: '12:00:51' }),
      feed.update(future, { ...future, at: '12:00:30', size: '1' }, '12:00:52'),
      ...creates(feed, after),
    ]);
    expect((await deadLetters(driver)).map(({ reason }) => reason)).toEqual(['FUTURE_EVENT_TIME']);
    expect((await rows(driver))[0]?.windows[0]).toMatchObject({ trade_count: 3n, volume: 800_000_000n });
  });

  test('that makes a trade one from the future is a dead letter, and takes its old version out', async () => {
    const feed = new Feed();
    await using driver = await open([
      ...creates(feed, first, second),
      feed.update(first, { ...first, at: '14:00:00' }, '12:00:30'),
      feed.update({ ...first, at: '14:00:00' }, { ...first, size: '8' }, '12:00:40'),
      ...creates(feed, after),
    ]);
    expect((await deadLetters(driver)).map(({ reason }) => reason)).toEqual(['FUTURE_EVENT_TIME']);
    expect((await rows(driver))[0]?.windows[0]).toMatchObject({ trade_count: 2n, buy_volume: 800_000_000n });
  });

  test('is not applied when the allowed lateness has passed, or when its trade was never counted', async () => {
    const feed = new Feed();
    await using driver = await open([
      ...creates(feed, first, second),
      feed.delete({ ...second, id: 'unknown', at: '12:05:00' }, '12:00:40'),
      feed.delete(second, '13:00:11'),
    ]);
    expect((await lateTrades(driver)).map(({ trade_id, effect }) => [trade_id, effect])).toEqual([
      ['unknown', 'NOT_APPLIED'],
      ['b', 'NOT_APPLIED'],
    ]);
    await driver.beat(time('13:30:00'));
    expect((await rows(driver))[0]?.windows[0]?.trade_count).toBe(2n);
  });

  test('past the allowed lateness does not bring its trade into another step, also when that is made again', async () => {
    const allowedLatenessMs = 60_000;
    const [old, moved] = [
      { at: '12:02:59', id: 'old' },
      { at: '12:04:05', id: 'old', price: '999', size: '5' },
    ];
    const [x, y, z] = [
      { at: '12:04:01', id: 'x', price: '10' },
      { at: '12:04:10', id: 'y', price: '11' },
      { at: '12:04:11', id: 'z', price: '12' },
    ];
    const feed = new Feed();
    const counts = async (...changes: readonly TradeChange[]) => {
      await using driver = await open([...changes, ...creates(feed, { ...after, at: '12:06:10' })], {
        allowedLatenessMs,
      });
      return (await rows(driver)).find(({ as_of }) => as_of === time('12:05:00'))?.windows[0];
    };
    const before = [...creates(feed, old, x), feed.update(old, moved, '12:04:03'), ...creates(feed, y, z)];
    expect(await counts(...before, feed.delete(z, '12:04:12'))).toMatchObject({
      trade_count: 2n,
      volume: 200_000_000n,
    });
    const next = feed.update(moved, { ...moved, price: '9' }, '12:04:13');
    expect(await counts(...before, next)).toMatchObject({ trade_count: 4n, volume: 800_000_000n });
  });

  test('reads a step again with the skew check of its trades’ first read, also after a change of maxFutureSkewMs', async () => {
    const feed = new Feed();
    const [ahead, last] = [
      { at: '12:00:40', id: 'ahead', price: '500' },
      { at: '12:00:50', id: 'last', price: '600' },
    ];
    const counts = async (then: number, now: number) => {
      await using driver = await open(
        [...creates(feed, first), feed.create(ahead, '12:00:11'), feed.create(last, '12:00:50')],
        { maxFutureSkewMs: then },
      );
      await driver.run();
      await driver.deploy(features({ ...SETTINGS, maxFutureSkewMs: now }));
      driver.send(feed.delete(last, '12:00:51'));
      await driver.beat(time('12:01:05'));
      return (await rows(driver))[0]?.windows[0]?.trade_count;
    };
    expect([await counts(10_000, 60_000), await counts(60_000, 10_000)]).toEqual([1n, 2n]);
  });

  test('that cancels all trades in reach leaves no row to make', async () => {
    const feed = new Feed();
    await using driver = await open([...creates(feed, first), feed.delete(first, '12:00:20')]);
    await driver.beat(time('12:30:00'));
    expect(await lines(driver)).toEqual([]);
  });
});
