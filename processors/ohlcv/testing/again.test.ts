import { describe, expect, test } from '@jest/globals';
import { redrivenHeaders } from '../../../core/log/redriven.ts';
import { Driver } from '../../../core/testing/driver.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { ohlcv } from '../ohlcv.ts';
import type { OhlcvSettings } from '../settings.ts';
import { deadLetters, Feed, lateLines, lines, SETTINGS, type TradeFields, time } from './fixture.ts';

interface Step {
  readonly change: Omit<TradeFields, 'at'> & { readonly at?: string };
  /** An update of a table that does not publish the old row. */
  readonly bare?: boolean;
  /** Settings from this step on. */
  readonly deploy?: Partial<OhlcvSettings>;
}

const create = (id: string, at: string, price: string, over: Partial<TradeFields> = {}): Step => ({
  change: { id, at: `12:00:${at}`, price, ...over },
});
const remove = (id: string, at: string, price: string, log: string, over: Partial<TradeFields> = {}): Step =>
  create(id, at, price, { op: 'd', log: `12:00:${log}`, ...over });
const update = (id: string, at: string, price: string, log: string, over: Partial<TradeFields> = {}): Step =>
  create(id, at, price, { op: 'u', log: `12:00:${log}`, ...over });

/**
 * The last candle of BTC/USD at 12:00, the reasons of the dead letters, and the late records. Two tasks must agree. One lives through the
 * whole log and was asked about another symbol before. The other is taken over after each record.
 */
async function told(steps: readonly Step[], settings: Partial<OhlcvSettings> = {}) {
  const given: unknown[] = [];
  const answers: unknown[] = [];
  for (const crashes of [false, true]) {
    const all = { ...SETTINGS, intervals: ['1m'], allowedLatenessMs: 3_600_000, ...settings };
    await using driver = await Driver.open<TradeChange>(ohlcv(all));
    const feed = new Feed();
    const send = async ({ change, bare, deploy }: Step) => {
      if (deploy !== undefined) await driver.deploy(ohlcv({ ...all, ...deploy }));
      const made = feed.change({ at: '12:00:00', ...change });
      driver.send(bare === true ? { ...made, before: null } : made);
      await driver.run();
      if (crashes) driver.crash();
    };
    const other = { symbol: 'ETH/USD' };
    for (const step of [create('x', '00', '1', other), create('y', '00.5', '2', other)]) await send(step);
    await send(remove('y', '00.5', '2', '00.6', other));
    for (const step of steps) await send(step);
    await send({ change: { at: '12:01:10', id: 'next' } });
    const last = (await lines(driver)).filter((each) => each.startsWith('BTC/USD 1m 12:00:00')).at(-1);
    const dead = (await deadLetters(driver)).map(({ reason }) => reason);
    answers.push({ candle: last?.slice(last.indexOf('CLOSED')), dead, late: (await lateLines(driver)).slice(1) });
    given.push((await driver.outputs('market.candles')).map(({ bytes }) => bytes.value?.toString('hex')));
  }
  expect(given[0]).toEqual(given[1]);
  expect(answers[0]).toEqual(answers[1]);
  return answers[0] as { candle: string; dead: string[]; late: string[] };
}

const three = [create('a', '05', '100'), create('b', '10', '150'), create('c', '15', '120')];
const withoutB = 'CLOSED#1 o100 h120 l100 c120 v2 n2';

describe('a candle that is made again', () => {
  test.each([
    ['a notional too great', { price: '999999999', size: '99999999999' }],
    ['one that no output could hold', { price: '99999999999', size: '999999999999' }],
    ['a negative size', { size: '-1' }],
  ])('does not have a trade that was refused for %s', async (_, figures) => {
    const refused = create('huge', '07', '1', figures);
    const [a, b, c] = three as [Step, Step, Step];
    const all = { intervals: ['1m', '1d'] };
    const answer = { candle: withoutB, dead: ['BAD_RECORD'] };
    expect(await told([a, refused, b, c, remove('b', '10', '150', '17')], all)).toMatchObject(answer);
    expect(await told([refused, a, b, c, remove('b', '10', '150', '17')], all)).toMatchObject(answer);
  });

  test('has a trade as it was before a change that was refused, and as it is after the next one that is not', async () => {
    const huge = { size: '99999999999' };
    const refused = update('a', '05', '999999999', '16', { ...huge, was: { price: '100', size: '1' } });
    const gone = remove('b', '10', '150', '17');
    const all = { intervals: ['1m', '1d'] };
    expect(await told([...three, refused, gone], all)).toMatchObject({ candle: withoutB, dead: ['BAD_RECORD'] });
    const next = update('a', '05', '90', '18', { was: { price: '999999999', ...huge } });
    const after = await told([...three, refused, next, remove('b', '10', '150', '19')], all);
    expect(after.candle).toBe('CLOSED#1 o90 h120 l90 c120 v2 n2');
  });

  test('has a trade whose cancel was refused', async () => {
    const [plus, minus] = [
      { price: '6000000000', size: '1000000000' },
      { price: '-6000000000', size: '1000000000' },
    ];
    const { candle, dead } = await told(
      [
        create('first', '05', '-7000000000', { size: '0' }),
        create('a', '06', '', plus),
        create('b', '07', '', minus),
        create('c', '08', '', plus),
        create('last', '09', '2'),
        remove('b', '07', '', '10', minus),
        remove('last', '09', '2', '11'),
      ],
      { intervals: ['1m', '1d'] },
    );
    expect(dead).toEqual(['BAD_RECORD']);
    expect(candle).toBe('CLOSED#1 o-7000000000 h6000000000 l-7000000000 c6000000000 v3000000000 n4');
  });

  test('does not have what an update says whose table does not tell the row before', async () => {
    const bare: Step = { ...update('a', '12', '777', '16'), bare: true };
    const { candle, dead } = await told([...three, bare, remove('b', '10', '150', '17')]);
    expect([candle, dead]).toEqual([withoutB, ['BAD_RECORD']]);
  });

  test('judges no event time again by another maxFutureSkew than that of then', async () => {
    const ahead = create('ahead', '50', '500', { log: '12:00:16' });
    const gone = remove('b', '10', '150', '17');
    const raised = await told([...three, ahead, { ...gone, deploy: { maxFutureSkewMs: 60_000 } }]);
    expect(raised).toMatchObject({ candle: withoutB, dead: ['FUTURE_EVENT_TIME'] });
    const lowered = [...three, ahead, { ...gone, deploy: { maxFutureSkewMs: 1 } }];
    expect(await told(lowered, { maxFutureSkewMs: 60_000 })).toMatchObject({
      candle: 'CLOSED#1 o100 h500 l100 c500 v3 n3',
      dead: [],
    });
  });

  test('does not have a trade that no candle had when it was corrected', async () => {
    const emptied = [create('gone', '01', '1'), remove('gone', '01', '1', '02')];
    const stray = update('stray', '04', '777', '04', { was: { price: '700' } });
    const { candle, late } = await told([...emptied, stray, ...three, remove('b', '10', '150', '17')]);
    expect(candle).toBe(withoutB);
    expect(late).toEqual([
      'DELETE APPLIED 1m 12:00:00',
      'UPDATE NOT_APPLIED 1m 12:00:00',
      'DELETE APPLIED 1m 12:00:00',
    ]);
  });

  test('does not have one that such a correction moves into it, and takes it with the next', async () => {
    const stray = update('stray', '12', '777', '16', { was: { at: '11:59:59' } });
    const gone = remove('b', '10', '150', '17');
    expect((await told([...three, stray, gone])).candle).toBe(withoutB);
    const next = update('stray', '12', '110', '18', { was: { price: '777' } });
    expect((await told([...three, stray, gone, next])).candle).toBe('CLOSED#1 o100 h120 l100 c120 v3 n3');
    expect((await told([...three, stray, gone, next, remove('c', '15', '120', '19')])).candle).toBe(
      'CLOSED#1 o100 h110 l100 c110 v2 n2',
    );
  });

  test('of an interval added within it has the changes since then, whatever else the task knows', async () => {
    const first = { ...create('d', '30', '110'), deploy: { intervals: ['1m', '5m'] } };
    const since = [first, create('e', '35', '120'), create('f', '40', '105'), remove('e', '35', '120', '50')];
    expect((await told([...three, ...since], { intervals: ['5m'] })).candle).toBe('CLOSED#1 o110 h110 l105 c105 v2 n2');
  });
});

test('a trade that was refused and then redriven is in its candle once, however it is corrected', async () => {
  const settings = { ...SETTINGS, intervals: ['1m'], allowedLatenessMs: 3_600_000 };
  await using driver = await Driver.open<TradeChange>(ohlcv(settings));
  const feed = new Feed();
  const trade = { at: '12:00:50', id: 'ahead', price: '100' };
  const at = { topic: 'cdc.public.trades', partition: 0, key: null, timestamp: 0n };
  driver.send(feed.change({ ...trade, log: '12:00:10' }));
  await driver.run();
  await driver.deploy(ohlcv({ ...settings, maxFutureSkewMs: 60_000 }));
  const redriven = { processor: 'ohlcv', attempts: 1, firstOrigin: 'cdc.public.trades/0/0', letter: 'ohlcv.dead/0/0' };
  const [refused] = driver.log.records(at.topic, 0);
  driver.log.append({ ...at, value: refused?.value ?? null, headers: redrivenHeaders(redriven) });
  driver.send(feed.change({ at: '12:00:40', id: 'other', price: '95', log: '12:00:14' }));
  driver.send(feed.change({ ...trade, op: 'u', log: '12:00:15', price: '90', was: { price: '100' } }));
  await driver.beat(time('12:02:00'));
  expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o95 h95 l90 c90 v2 n2']);
});
