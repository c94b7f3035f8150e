import { expect, test } from '@jest/globals';
import type { Context, Store } from '../../../core/processor/define.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import { OhlcvFold } from '../fold.ts';
import { type OhlcvSettings, toRules } from '../settings.ts';
import { Feed, line, SETTINGS, time } from './fixture.ts';

/** A task whose settings change between two runs; the virtual-time driver runs one declaration only. */
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

  send(at: string, log = at, op: 'c' | 'd' = 'c'): void {
    this.advance(log);
    const value = this.#feed.change({ at, log, op });
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
      get timers(): never {
        throw new TypeError('no timer is set here');
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
      follow() {
        throw new TypeError('nothing is read again here');
      },
    };
    return new OhlcvFold(toRules({ ...SETTINGS, intervals: ['1m'], ...settings }), context);
  }
}

test('a greater watermark delay after a restart re-opens nothing: what was closed stays closed', () => {
  const task = new Task({ watermarkDelayMs: 0 });
  task.send('12:00:10');
  task.send('12:01:00');
  expect(task.candles).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
  task.restart({ watermarkDelayMs: 30_000 });
  task.send('12:00:59', '12:01:00');
  expect(task.candles).toHaveLength(1);
  expect(task.late).toMatchObject([{ reason: 'LATE' }]);
  task.send('12:02:29');
  expect(task.candles).toHaveLength(1);
  task.send('12:02:30');
  expect(task.candles[1]).toBe('BTC/USD 1m 12:01:00 CLOSED#1 o100 h100 l100 c100 v1 n1');
});

test('a smaller watermark delay after a restart closes what is due by it', () => {
  const task = new Task({ watermarkDelayMs: 30_000 });
  task.send('12:00:10');
  task.send('12:01:10');
  task.restart({ watermarkDelayMs: 0 });
  task.advance('12:01:10');
  expect(task.candles).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
});

test('an interval that is no longer configured emits nothing more, and what its open window holds is in the larger one', () => {
  const task = new Task({ intervals: ['1m', '5m'] });
  task.send('12:00:10');
  task.send('12:01:10');
  task.restart({ intervals: ['5m'] });
  task.send('12:02:10');
  task.send('12:05:05');
  expect(task.candles).toEqual([
    'BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
    'BTC/USD 5m 12:00:00 CLOSED#1 o100 h100 l100 c100 v3 n3',
  ]);
});

test('an interval between two others begins with what is open, and the larger one misses nothing', () => {
  const task = new Task({ intervals: ['1m', '1h'] });
  task.send('12:00:10');
  task.send('12:01:10');
  task.restart({ intervals: ['1m', '5m', '1h'] });
  task.send('12:02:10');
  task.advance('13:00:05');
  expect(task.candles.slice(-2)).toEqual([
    'BTC/USD 5m 12:00:00 CLOSED#1 o100 h100 l100 c100 v2 n2',
    'BTC/USD 1h 12:00:00 CLOSED#1 o100 h100 l100 c100 v3 n3',
  ]);
});

test('an interval under another name goes on', () => {
  const task = new Task({ intervals: ['60s', '5m'] });
  task.send('12:00:10');
  task.restart({ intervals: ['1m', '5m'] });
  task.send('12:00:20');
  task.send('12:01:05');
  expect(task.candles).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v2 n2']);
});

test('a greater allowed lateness after a restart revises nothing that was frozen', () => {
  const task = new Task({ watermarkDelayMs: 0, allowedLatenessMs: 60_000 });
  task.send('12:00:10');
  task.send('12:05:00');
  task.restart({ watermarkDelayMs: 0, allowedLatenessMs: 3_600_000 });
  task.send('12:00:20', '12:05:00');
  task.send('12:04:20', '12:05:00');
  expect(task.late).toMatchObject([{ effect: 'NOT_APPLIED' }, { effect: 'REVISED' }]);
  expect(task.candles.at(-1)).toBe('BTC/USD 1m 12:04:00 REVISED#1 o100 h100 l100 c100 v1 n1');
});

test('a frozen window leaves nothing in the state but its symbol, which leaves memory after 30 days', () => {
  const task = new Task({ intervals: ['1m', '5m'], allowedLatenessMs: 60_000 });
  task.send('12:00:10');
  expect(task.fold.gauges()).toMatchObject({ keys: 1, open_windows: 1 });
  task.advance('12:06:04.999999');
  expect(task.stores.get('windows')?.size).toBe(2);
  task.advance('12:06:05');
  expect([...task.stores].map(([name, { size }]) => [name, size])).toEqual([
    ['held', 0],
    ['keys', 1],
    ['windows', 0],
  ]);
  const reached = Number(time('12:06:00'));
  expect(task.fold.gauges()).toMatchObject({ keys: 1, open_windows: 0, watermark_min_us: reached });
  const idle = time('12:00:10') + 30n * 86_400_000_000n;
  expect(task.fold.deadline()).toBe(idle);
  task.logTime = idle;
  task.fold.advance();
  expect(task.stores.get('keys')?.size).toBe(1);
  expect([task.fold.gauges()['keys'], task.fold.deadline()]).toEqual([0, undefined]);
});

test('a trade that came and went leaves no window that a restarted task would not have: both are due at the same time', () => {
  const settings = { intervals: ['1s', '1m', '5m'], allowedLatenessMs: 60_000 };
  const task = new Task(settings);
  task.send('12:00:10');
  task.send('12:00:10', '12:00:10', 'd');
  task.advance('12:00:17');
  const lived = [task.fold.deadline(), task.fold.gauges()];
  task.restart(settings);
  expect([task.fold.deadline(), task.fold.gauges()]).toEqual(lived);
  expect(task.fold.gauges()).toMatchObject({ keys: 1, open_windows: 0 });
});

test('a window whose symbol is missing is corrupt state, and stops', () => {
  const task = new Task();
  task.send('12:00:10');
  task.stores.get('keys')?.clear();
  expect(() => task.restart()).toThrow(expect.objectContaining({ code: 'STATE_CORRUPT', disposition: 'stop' }));
});
