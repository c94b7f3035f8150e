import { describe, expect, test } from '@jest/globals';
import { Driver } from '../../testing/driver.ts';
import { defineProcessor } from '../define.ts';
import type { Aggregation, Emission } from './aggregation.ts';
import { Plan } from './plan.ts';
import { Windowed, windowStores } from './windowed.ts';
import { parseWindows, tumbling } from './windows.ts';

/** A reading of a sensor: what is not a trade is aggregated as well. */
interface Reading {
  readonly sensor: string;
  readonly time: bigint;
  readonly degrees: bigint;
}

interface Total {
  degrees: bigint;
  readings: number;
}

const long = (name: string) => ({ name, type: 'long' });
const readingSchema = {
  type: 'record',
  name: 'Reading',
  fields: [{ name: 'sensor', type: 'string' }, long('time'), long('degrees')],
};
const outSchema = {
  type: 'record',
  name: 'Mean',
  fields: [{ name: 'text', type: 'string' }],
};

const totals: Aggregation<Reading, Total> = {
  schema: { type: 'record', name: 'Total', fields: [long('degrees'), { name: 'readings', type: 'double' }] },
  time: (reading) => Number(reading.time),
  create: ({ degrees }) => ({ degrees, readings: 1 }),
  add(into, { degrees }) {
    into.degrees += degrees;
    into.readings += 1;
  },
  merge(into, other) {
    into.degrees += other.degrees;
    into.readings += other.readings;
  },
  copy: (of) => ({ ...of }),
  count: (of) => of.readings,
};

/** A whole processor. */
const means = (intervals: readonly string[]) =>
  defineProcessor<Reading>({
    name: 'means',
    version: '1',
    inputs: [{ topic: 'readings', schema: readingSchema, kind: 'derived' }],
    outputs: [{ topic: 'means', keySchema: null, valueSchema: outSchema }],
    stores: windowStores(totals),
    create(context) {
      const plan = new Plan(intervals.map(parseWindows));
      const emit = (window: Emission<Total>) => context.emit('means', null, { text: line(window) });
      const settings = { watermarkDelay: 0, allowedLateness: 60e6, maxFutureSkew: 60e6, partial: 0, fill: 0 };
      const windowed = new Windowed({ ...settings, aggregation: totals, plan: () => plan, emit }, context);
      return {
        restored: () => windowed.restored(),
        deadline: () => windowed.deadline(),
        advance: () => windowed.advance(),
        record: (record) => windowed.add(record.value.sensor, record.value, record),
      };
    },
  });

function line({ key, level, start, status, revision, value }: Emission<Total>): string {
  return `${key} ${level} ${start / 1e6} ${status}#${revision} ${value?.degrees}/${value?.readings}`;
}

async function run(intervals: readonly string[], readings: readonly [string, number, number][], crashes = false) {
  await using driver = await Driver.open(means(intervals));
  let log = 0;
  for (const [sensor, seconds, degrees] of readings) {
    log = Math.max(log, seconds);
    const value = { sensor, time: BigInt(seconds) * 1_000_000n, degrees: BigInt(degrees) };
    driver.send(value, { timestamp: BigInt(log) * 1000n });
    if (!crashes) continue;
    await driver.run();
    driver.crash();
  }
  await driver.beat(BigInt(log + 86_400) * 1_000_000n);
  return (await driver.outputs<null, { text: string }>('means')).map(({ value }) => value?.text);
}

describe('an aggregate that is no candle', () => {
  test('is emitted for each window, the larger ones merged from the smaller', async () => {
    const made = await run(
      ['10s', '1m'],
      [
        ['a', 1, 5],
        ['b', 2, 7],
        ['a', 9, 1],
        ['a', 31, 2],
      ],
    );
    expect(made.filter((each) => each?.startsWith('a'))).toEqual([
      'a 10s 0 CLOSED#1 6/2',
      'a 10s 30 CLOSED#1 2/1',
      'a 1m 0 CLOSED#1 8/3',
    ]);
  });

  test('is revised by what is late, at every level, also when the task is taken over after each record', async () => {
    const readings: [string, number, number][] = [
      ['a', 1, 5],
      ['a', 65, 1],
      ['a', 3, 4],
    ];
    const made = await run(['10s', '1m'], readings);
    expect(made.slice(0, 4)).toEqual([
      'a 10s 0 CLOSED#1 5/1',
      'a 1m 0 CLOSED#1 5/1',
      'a 10s 0 REVISED#2 9/2',
      'a 1m 0 REVISED#2 9/2',
    ]);
    expect(await run(['10s', '1m'], readings, true)).toEqual(made);
  });
});

describe('a plan', () => {
  const sources = (...names: string[]) =>
    new Plan(names.map(parseWindows)).levels.map(
      ({ windows, source }) => `${windows.name}<${source?.windows.name ?? ''}`,
    );

  test('makes each level of the longest one that divides it', () => {
    expect(sources('1d', '1s', '1h', '1m', '15m', '5m')).toEqual([
      '1s<',
      '1m<1s',
      '5m<1m',
      '15m<5m',
      '1h<15m',
      '1d<1h',
    ]);
    expect(sources('2m', '3m', '6m')).toEqual(['2m<', '3m<', '6m<3m']);
    expect(sources('1m', '5m/1m', '7200s')).toEqual(['1m<', '5m/1m<1m', '7200s<1m']);
  });

  test('refuses two that are the same, and none', () => {
    expect(() => new Plan([tumbling('60s'), tumbling('1m')])).toThrow(/same length/);
    expect(() => new Plan([])).toThrow(/at least one/);
  });
});
