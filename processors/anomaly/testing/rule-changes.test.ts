import { describe, expect, test } from '@jest/globals';
import { Bench, candle, SETTINGS } from './fixture.ts';

const twenty = Array.from({ length: 20 }, (_, at) => candle({ at }));
const SPIKE = { volume: '31', close: '106' };
const JUMP = { id: 'jump', type: 'price_jump', move: '2%' };
const up = (at: number) => candle({ at, close: at % 2 === 0 ? '110' : '100' });

describe('a rule of the topic', () => {
  test('judges the candles after it, and none before', async () => {
    await using bench = await Bench.open({ rules: [] });
    bench.candles(up(0), up(1), up(2));
    await bench.driver.run();
    bench.rule(JUMP);
    await bench.driver.run();
    bench.candles(up(3), up(4));
    expect(await bench.said()).toEqual(['jump@3 RAISED 1', 'jump@4 RAISED 1']);
    expect((await bench.anomalies())[0]?.value?.rule_version).toBe(0n);
  });

  test('applies exactly at its place, and a crash after it changes nothing', async () => {
    const run = async (crash: boolean): Promise<string[]> => {
      await using bench = await Bench.open({ rules: [], commitRecords: 1 });
      const pause = async (): Promise<void> => {
        await bench.driver.run();
        if (crash) bench.driver.crash();
      };
      bench.candles(up(0), up(1));
      await pause();
      bench.rule(JUMP);
      await pause();
      bench.candles(up(2));
      await pause();
      bench.rule({ ...JUMP, move: '50%' });
      await pause();
      bench.candles(up(3));
      await pause();
      bench.rule({ ...JUMP, move: '1%' });
      await pause();
      bench.candles(up(4));
      await pause();
      bench.removeRule('jump');
      await pause();
      bench.candles(up(5));
      return await bench.said();
    };
    expect(await run(false)).toEqual(['jump@2 RAISED 1', 'jump@4 RAISED 1']);
    expect(await run(true)).toEqual(await run(false));
  });

  test('judges a candle that is revised after a change by the version that judged it first', async () => {
    await using bench = await Bench.open({ rules: [] });
    bench.rule(JUMP);
    await bench.driver.run();
    bench.candles(up(0), up(1), up(2));
    await bench.driver.run();
    bench.rule({ ...JUMP, move: '50%' });
    bench.candles(candle({ at: 2, close: '103', status: 'REVISED', revision: 2 }));
    await bench.driver.run();
    bench.removeRule('jump');
    await bench.driver.run();
    bench.candles(candle({ at: 2, close: '101', status: 'REVISED', revision: 3 }));
    expect(await bench.said()).toEqual([
      'jump@1 RAISED 1',
      'jump@2 RAISED 1',
      'jump@2 REVISED 2',
      'jump@2 RETRACTED 3',
    ]);
  });

  test('replaces the one that is built in, if it has its id; without it that is back', async () => {
    await using bench = await Bench.open();
    bench.candles(...twenty);
    await bench.driver.run();
    bench.rule({ id: 'volume_spike', type: 'volume_spike', volume: '3x', move: '5%', enabled: 'false' });
    await bench.driver.run();
    bench.candles(candle({ at: 20, ...SPIKE }));
    await bench.driver.run();
    bench.removeRule('volume_spike');
    await bench.driver.run();
    bench.candles(candle({ at: 21, ...SPIKE, volume: '60' }));
    expect(await bench.said()).toEqual(['volume_spike@21 RAISED 1']);
    expect((await bench.anomalies())[0]?.value?.rule_version).toBe(-1n);
  });

  test('that is none is a dead letter, and the version before it stays in force', async () => {
    await using bench = await Bench.open({ rules: [] });
    bench.rule(JUMP);
    await bench.driver.run();
    const bad = {
      id: 'jump',
      type: 'price_jump',
      enabled: true,
      severity: 'HIGH',
      description: '',
      venues: [],
      symbols: [],
      intervals: [],
      parameters: { move: '2' },
    };
    bench.driver.table('rules', { id: 'jump' }, bad);
    bench.driver.table('rules', { id: 'other' }, { ...bad, parameters: { move: '2%' } });
    await bench.driver.run();
    bench.candles(up(0), up(1));
    expect(await bench.said()).toEqual(['jump@1 RAISED 1']);
    const letters = await bench.driver.outputs<null, { reason: string; error: string }>('anomaly.dead');
    expect(letters.map(({ value }) => [value?.reason, value?.error])).toEqual([
      ['RULE_INVALID', 'rule jump: move: has to be a percentage such as 5% or 0.25%, not "2"'],
      ['RULE_INVALID', 'rule jump has the key other'],
    ]);
  });

  test('with a longer lookback waits until so many candles were kept, and says nothing of those before', async () => {
    await using bench = await Bench.open({ rules: [], settings: { revisable: 1 } });
    bench.candles(...Array.from({ length: 10 }, (_, at) => candle({ at, volume: `${10 + (at % 2)}` })));
    await bench.driver.run();
    bench.rule({ id: 'z', type: 'z_score', of: 'volume', score: '3', lookback: '4' });
    await bench.driver.run();
    bench.candles(candle({ at: 10, volume: '100' }));
    expect(await bench.said()).toEqual([]);
    bench.candles(
      ...[11, 12, 13, 14, 15].map((at) => candle({ at, volume: `${10 + (at % 2)}` })),
      candle({ at: 16, volume: '100' }),
    );
    expect(await bench.said()).toEqual(['z@16 RAISED 1']);
    expect(await bench.late()).toEqual([]);
  });
});

describe('a threshold', () => {
  const LEVEL = { id: 'level', type: 'threshold', of: 'close', above: '110', clear: '100' };
  const closes = (...all: readonly string[]) => all.map((close, at) => candle({ at, close }));

  test('is one anomaly until it was clear again, however the price trembles', async () => {
    await using bench = await Bench.open({ rules: [LEVEL] });
    bench.candles(...closes('105', '110', '110.1', '109', '111', '100', '112', '99.9', '111', '120'));
    expect(await bench.said()).toEqual(['level@2 RAISED 1', 'level@8 RAISED 1']);
  });

  test('below is the same the other way round', async () => {
    await using bench = await Bench.open({
      rules: [{ id: 'low', type: 'threshold', of: 'close', below: '90', clear: '95' }],
    });
    bench.candles(...closes('90', '89', '95', '88', '95.1', '89'));
    expect(await bench.said()).toEqual(['low@1 RAISED 1', 'low@5 RAISED 1']);
  });

  test('moves to another candle when a revision takes its crossing away', async () => {
    await using bench = await Bench.open({ rules: [LEVEL] });
    bench.candles(...closes('105', '111', '112'), candle({ at: 1, close: '109', status: 'REVISED', revision: 2 }));
    expect(await bench.said()).toEqual(['level@1 RAISED 1', 'level@1 RETRACTED 2', 'level@2 RAISED 1']);
  });

  test('remembers that it was crossed by a candle that is not kept any more', async () => {
    await using bench = await Bench.open({ rules: [LEVEL], settings: { ...SETTINGS, revisable: 2 } });
    bench.candles(...closes('111', '105', '105', '105', '105', '105'));
    await bench.driver.run();
    bench.driver.crash();
    bench.candles(candle({ at: 6, close: '112' }), candle({ at: 7, close: '99' }), candle({ at: 8, close: '112' }));
    expect(await bench.said()).toEqual(['level@0 RAISED 1', 'level@8 RAISED 1']);
  });
});
