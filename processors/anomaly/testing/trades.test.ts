import { describe, expect, test } from '@jest/globals';
import { tradesTopic } from '../trades.ts';
import { Bench, candle, trade } from './fixture.ts';

const STALE = { id: 'stale', type: 'stale_feed', after: '30s' };
const GAP = { id: 'gap', type: 'sequence_gap' };
const beat = (seconds: number): bigint => BigInt(seconds) * 1_000_000n;

describe('a stale feed', () => {
  test('is raised by a heartbeat when a symbol had no trade for so much log time, and not a moment before', async () => {
    await using bench = await Bench.open({ rules: [STALE] });
    bench.trades({ id: 'a', log: 10 });
    await bench.driver.beat(beat(40) - 1n);
    expect(await bench.said()).toEqual([]);
    await bench.driver.beat(beat(40));
    expect(await bench.said()).toEqual(['stale@a RAISED 1']);
    const [raised] = await bench.anomalies();
    expect(raised?.key).toEqual({
      venue: 'bitstamp',
      symbol: 'BTC/USD',
      interval: '',
      window_start: beat(10),
      type: 'stale_feed',
      rule: 'stale',
      event: 'a',
    });
    expect(raised?.value).toMatchObject({
      explanation: 'no trade for 30 s since trade a, committed at 1970-01-01 00:00:10Z',
      candle: null,
      causes: [{ topic: tradesTopic, offset: 0n, id: 'a' }],
    });
  });

  test('is raised by the trade of another symbol, too: the feed lives', async () => {
    await using bench = await Bench.open({ rules: [STALE] });
    bench.trades({ id: 'a', log: 10 }, { id: 'b', log: 41, symbol: 'ETH/USD' });
    expect(await bench.said()).toEqual(['stale@a RAISED 1']);
  });

  test('is not raised while nothing at all comes, nor by a candle that is ahead of the trades', async () => {
    await using bench = await Bench.open({ rules: [STALE] });
    bench.trades({ id: 'a', log: 10 });
    await bench.driver.run();
    bench.driver.send(candle({ at: 1 }), { timestamp: 100_000n });
    bench.trades({ id: 'b', log: 20 });
    expect(await bench.said()).toEqual([]);
    await bench.driver.beat(beat(101));
    expect(await bench.said()).toEqual(['stale@b RAISED 1']);
  });

  test('is revised with its length by the trade that ends it, and raised anew for the next silence', async () => {
    await using bench = await Bench.open({ rules: [STALE] });
    bench.trades({ id: 'a', log: 10 });
    await bench.driver.beat(beat(45));
    bench.trades({ id: 'b', log: 70 });
    await bench.driver.beat(beat(100));
    expect(await bench.said()).toEqual(['stale@a RAISED 1', 'stale@a REVISED 2', 'stale@b RAISED 1']);
    expect((await bench.anomalies())[1]?.value).toMatchObject({
      explanation: 'no trade for 60 s (limit 30 s), from trade a to trade b, committed at 1970-01-01 00:01:10Z',
      causes: [{ id: 'a' }, { id: 'b' }],
    });
  });

  test('is retracted by a trade whose commit time shows that there was no silence', async () => {
    await using bench = await Bench.open({ rules: [STALE] });
    bench.trades({ id: 'a', log: 10 });
    await bench.driver.beat(beat(40));
    bench.trades({ id: 'b', log: 39.999 });
    expect(await bench.said()).toEqual(['stale@a RAISED 1', 'stale@a RETRACTED 2']);
    await bench.driver.beat(beat(70));
    expect((await bench.said()).slice(2)).toEqual(['stale@b RAISED 1']);
  });

  test('is not prevented by a correction or a cancel: they are no new trades', async () => {
    await using bench = await Bench.open({ rules: [STALE] });
    bench.trades({ id: 'a', log: 10 }, { id: 'a', log: 35, op: 'u' }, { id: 'a', log: 36, op: 'd' });
    await bench.driver.beat(beat(40));
    expect(await bench.said()).toEqual(['stale@a RAISED 1']);
  });

  test('is known again after a crash at any place', async () => {
    for (const crashed of [0, 1, 2]) {
      await using bench = await Bench.open({ rules: [STALE] });
      bench.trades({ id: 'a', log: 10 });
      await bench.driver.run();
      if (crashed === 0) bench.driver.crash();
      await bench.driver.beat(beat(45));
      if (crashed === 1) bench.driver.crash();
      bench.trades({ id: 'b', log: 70 });
      if (crashed === 2) {
        bench.driver.fault(0, 'abort');
      }
      expect(await bench.said()).toEqual(['stale@a RAISED 1', 'stale@a REVISED 2']);
    }
  });

  test('is looked for from the newest trade on, when its rule comes while the symbol is quiet', async () => {
    await using bench = await Bench.open({ rules: [] });
    bench.trades({ id: 'a', log: 10 });
    await bench.driver.beat(beat(20));
    bench.rule(STALE);
    await bench.driver.beat(beat(40));
    expect(await bench.said()).toEqual(['stale@a RAISED 1']);
  });

  test('stands when its rule goes, and is revised by the next trade all the same', async () => {
    await using bench = await Bench.open({ rules: [] });
    bench.rule(STALE);
    bench.trades({ id: 'a', log: 10 });
    await bench.driver.beat(beat(45));
    bench.removeRule('stale');
    bench.trades({ id: 'b', log: 70 });
    await bench.driver.beat(beat(200));
    expect(await bench.said()).toEqual(['stale@a RAISED 1', 'stale@a REVISED 2']);
  });

  test('is looked for in the symbols of its rule only', async () => {
    await using bench = await Bench.open({ rules: [{ ...STALE, symbols: ['ETH/USD'] }] });
    bench.trades({ id: 'a', log: 10 }, { id: 'b', log: 10, symbol: 'ETH/USD' });
    await bench.driver.beat(beat(40));
    expect(await bench.said()).toEqual(['stale@b RAISED 1']);
  });
});

describe('a sequence gap', () => {
  const numbers = (...all: readonly (number | null)[]) =>
    all.map((number, at) => ({ id: `${number}`, log: at, sequence: number === null ? null : BigInt(number) }));

  test('is raised by the trade after it, with what is missing', async () => {
    await using bench = await Bench.open({ rules: [GAP] });
    bench.trades(...numbers(10, 11, 15, 16));
    expect(await bench.said()).toEqual(['gap@15 RAISED 1']);
    expect((await bench.anomalies())[0]?.value).toMatchObject({
      type: 'sequence_gap',
      explanation: "the venue's sequence went from 11 to 15: 3 missing (12 to 14)",
      figures: [
        { name: 'before', value: '11' },
        { name: 'after', value: '15' },
        { name: 'missing', value: '3', limit: '1' },
      ],
      causes: [{ id: '11' }, { id: '15' }],
    });
  });

  test('shrinks with each number that comes late, and is retracted by the last one', async () => {
    await using bench = await Bench.open({ rules: [GAP] });
    bench.trades(...numbers(10, 14, 12, 12, 11, 13, 15));
    expect(await bench.said()).toEqual([
      'gap@14 RAISED 1',
      'gap@14 REVISED 2',
      'gap@14 REVISED 3',
      'gap@14 RETRACTED 4',
    ]);
    const explained = (await bench.anomalies()).map(({ value }) => value?.explanation.split(': ')[1]);
    expect(explained).toEqual(['3 missing (11 to 13)', '2 missing (11, 13)', '1 missing (13)', undefined]);
  });

  test('of fewer numbers than the rule asks for is none', async () => {
    await using bench = await Bench.open({ rules: [{ ...GAP, missing: '3' }] });
    bench.trades(...numbers(10, 13, 17));
    expect(await bench.said()).toEqual(['gap@17 RAISED 1']);
  });

  test('is counted per symbol, and trades without a number do not count', async () => {
    await using bench = await Bench.open({ rules: [GAP] });
    const [a, none, b] = numbers(10, null, 11);
    bench.trades(a as never, none as never, { id: 'x', log: 1, sequence: 500n, symbol: 'ETH/USD' }, b as never);
    expect(await bench.said()).toEqual([]);
  });

  test('is none where numbers begin anew each day', async () => {
    const day = 86_400_000_000n;
    const trades = [
      { id: 'a', log: 1, sequence: 900n },
      { id: 'b', log: 2, sequence: 5n, time: day },
      { id: 'c', log: 3, sequence: 901n },
      { id: 'd', log: 4, sequence: 7n, time: day },
    ];
    await using daily = await Bench.open({ rules: [{ ...GAP, restarts: 'daily' }] });
    daily.trades(...trades);
    expect(await daily.said()).toEqual(['gap@d RAISED 1']);
    await using never = await Bench.open({ rules: [GAP] });
    never.trades(...trades);
    expect(await never.said()).toEqual([]);
  });

  test('is the same with a crash between any two trades', async () => {
    await using bench = await Bench.open({ rules: [GAP], commitRecords: 1 });
    bench.trades(...numbers(10, 14, 12, 20, 11, 13));
    for (let at = 0; at < 6; at++) {
      await bench.driver.run({ records: 1 });
      bench.driver.crash();
    }
    expect(await bench.said()).toEqual([
      'gap@14 RAISED 1',
      'gap@14 REVISED 2',
      'gap@20 RAISED 1',
      'gap@14 REVISED 3',
      'gap@14 RETRACTED 4',
    ]);
  });
});

test('a trade that makes no sense is a dead letter, and the rules go on', async () => {
  await using bench = await Bench.open({ rules: [STALE, GAP] });
  bench.driver.send({ ...trade({ id: 'bad', log: 1 }), after: null }, { topic: tradesTopic });
  bench.trades({ id: 'a', log: 10 });
  await bench.driver.beat(beat(40));
  expect(await bench.said()).toEqual(['stale@a RAISED 1']);
  expect(
    (await bench.driver.outputs<null, { reason: string }>('anomaly.dead')).map(({ value }) => value?.reason),
  ).toEqual(['BAD_RECORD']);
});
