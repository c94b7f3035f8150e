import { expect, test } from '@jest/globals';
import type { Context, Store } from '../../core/processor/define.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { Feed, line, SETTINGS, time } from './fixture.ts';
import { OhlcvFold } from './fold.ts';
import { type OhlcvSettings, toRules } from './settings.ts';

/** A task whose settings change between two lives: what the virtual-time driver, which runs one declaration, has no place for. */
class Task {
  logTime = 0n;
  readonly candles: string[] = [];
  readonly late: object[] = [];
  readonly stores = new Map<string, Map<string, unknown>>();
  fold: OhlcvFold;
  #offset = 0n;
  readonly #feed = new Feed();

  constructor(settings: Partial<OhlcvSettings> = {}) {
    this.fold = this.#start(settings);
  }

  restart(settings: Partial<OhlcvSettings> = {}): void {
    this.fold = this.#start(settings);
    this.fold.restored();
  }

  send(at: string, log = at): void {
    this.advance(log);
    const value = this.#feed.change({ at, log });
    const record = { topic: 'cdc.public.trades', partition: 0, offset: this.#offset++, lsn: null };
    this.fold.record({ ...record, value, logTime: time(log) });
  }

  advance(log: string): void {
    if (time(log) > this.logTime) this.logTime = time(log);
    const deadline = this.fold.deadline();
    if (deadline !== undefined && deadline <= this.logTime) this.fold.advance();
  }

  #start(settings: Partial<OhlcvSettings>): OhlcvFold {
    const task = this;
    const context: Context = {
      processor: { name: 'ohlcv', version: '1' },
      partition: 0,
      get logTime() {
        return task.logTime;
      },
      store<V>(name: string): Store<V> {
        const entries = task.stores.get(name) ?? new Map<string, unknown>();
        task.stores.set(name, entries);
        return entries as unknown as Store<V>;
      },
      emit(topic, _key, value) {
        if (topic === 'market.candles') task.candles.push(line(value as Candle));
        else task.late.push(value ?? {});
      },
      dead(error) {
        throw error;
      },
      reread() {
        throw new TypeError('nothing is read again here');
      },
    };
    return new OhlcvFold(toRules({ ...SETTINGS, intervals: ['1m'], ...settings }), context);
  }
}

test('a greater lateness after a restart re-opens nothing: what was closed stays closed', () => {
  const task = new Task({ latenessMs: 0 });
  task.send('12:00:10');
  task.send('12:01:00');
  expect(task.candles).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
  task.restart({ latenessMs: 30_000 });
  task.send('12:00:59', '12:01:00');
  expect(task.candles).toHaveLength(1);
  expect(task.late).toMatchObject([{ reason: 'LATE' }]);
  task.send('12:02:29');
  expect(task.candles).toHaveLength(1);
  task.send('12:02:30');
  expect(task.candles[1]).toBe('BTC/USD 1m 12:01:00 CLOSED#1 o100 h100 l100 c100 v1 n1');
});

test('a smaller lateness after a restart closes what is due by it', () => {
  const task = new Task({ latenessMs: 30_000 });
  task.send('12:00:10');
  task.send('12:01:10');
  task.restart({ latenessMs: 0 });
  task.advance('12:01:10');
  expect(task.candles).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
});

test('an open window of an interval that is no longer configured takes no more trades, and closes when it is due', () => {
  const task = new Task({ intervals: ['1m', '5m'] });
  task.send('12:00:10');
  task.restart({ intervals: ['1m'] });
  task.send('12:01:10');
  task.send('12:05:05');
  expect(task.candles).toEqual([
    'BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
    'BTC/USD 1m 12:01:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
    'BTC/USD 5m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
  ]);
});

test('a closed window leaves nothing in the state but its symbol', () => {
  const task = new Task();
  task.send('12:00:10');
  expect(task.fold.gauges()).toMatchObject({ keys: 1, open_windows: 1 });
  task.advance('12:01:05');
  expect([...task.stores].map(([name, { size }]) => [name, size])).toEqual([
    ['symbols', 1],
    ['windows', 0],
  ]);
  expect(task.fold.gauges()).toEqual({
    keys: 1,
    open_windows: 0,
    watermark_min_us: Number(time('12:01:00')),
    watermark_max_us: Number(time('12:01:00')),
  });
  expect(task.fold.deadline()).toBeUndefined();
});

test('a window whose symbol is missing is corrupt state, and stops', () => {
  const task = new Task();
  task.send('12:00:10');
  task.stores.get('symbols')?.clear();
  expect(() => task.restart()).toThrow(expect.objectContaining({ code: 'STATE_CORRUPT', disposition: 'stop' }));
});
