import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { defineProcessor, isMadeWith, type Processor, type StoreDefinition } from '../processor/define.ts';
import { type Aggregation, keyStore } from '../processor/windows/aggregation.ts';
import { Plan } from '../processor/windows/plan.ts';
import { Sessions, type SessionsOptions, sessionStores } from '../processor/windows/sessions.ts';
import { Windowed, type WindowedOptions, windowStores } from '../processor/windows/windowed.ts';
import { tumbling } from '../processor/windows/windows.ts';
import { ValueCodec } from '../state/stores/value.ts';
import { Driver } from '../testing/driver.ts';
import { once, renamed, underNewNames } from './renames.ts';

interface Tick {
  at: number;
}

const tick = { type: 'record', name: 'Tick', fields: [{ name: 'at', type: 'double' }] };
const said = { type: 'record', name: 'Said', fields: [{ name: 'text', type: 'string' }] };
const counts: Aggregation<Tick, { n: number }> = {
  schema: { type: 'record', name: 'Count', fields: [{ name: 'n', type: 'double' }] },
  time: ({ at }) => at * 1e6,
  create: () => ({ n: 1 }),
  add(into) {
    into.n += 1;
  },
  merge(into, other) {
    into.n += other.n;
  },
  copy: (of) => ({ ...of }),
  count: ({ n }) => n,
};

type Named<T> = T extends unknown
  ? Pick<T, Extract<keyof T, 'watermarkDelay' | 'allowedLateness' | 'lateness' | 'horizon'>>
  : never;

/** A processor of windows or sessions with options under one name or the other. */
function processorOf(kind: 'windows', names: Named<WindowedOptions<Tick, { n: number }>>): Processor<Tick>;
function processorOf(kind: 'sessions', names: Named<SessionsOptions<Tick, { n: number }>>): Processor<Tick>;
function processorOf(kind: 'windows' | 'sessions', names: object): Processor<Tick> {
  return defineProcessor<Tick>({
    name: 'counted',
    version: '1',
    inputs: [{ topic: 'ticks', schema: tick, kind: 'derived' }],
    outputs: [{ topic: 'counted', keySchema: null, valueSchema: said }],
    stores: kind === 'windows' ? windowStores(counts) : sessionStores(counts),
    create(context) {
      const say = (text: string) => context.emit('counted', null, { text });
      // What the types of the two signatures let through.
      const named = names as { readonly watermarkDelay: number; readonly allowedLateness: number };
      const shared = { aggregation: counts, maxFutureSkew: 60e6, ...named };
      const plan = new Plan([tumbling('10s')]);
      const made =
        kind === 'windows'
          ? new Windowed<Tick, { n: number }>(
              {
                ...shared,
                plan: () => plan,
                partial: 0,
                fill: 0,
                emit: ({ start, value, status }) => say(`${start / 1e6} ${value?.n} ${status}`),
                outcome: ({ effect }) => say(effect),
              },
              context,
            )
          : new Sessions<Tick, { n: number }>(
              {
                ...shared,
                gap: 10e6,
                emit: ({ start, value }) => say(`${start / 1e6} ${value.n}`),
                late: () => say('late'),
              },
              context,
            );
      return {
        restored: () => made.restored(),
        deadline: () => made.deadline(),
        advance: () => made.advance(),
        record: (record) => made.add('key', record.value, record),
      };
    },
  });
}

async function outputs(processor: Processor<Tick>): Promise<(string | undefined)[]> {
  await using driver = await Driver.open(processor);
  for (const [at, log] of [
    [1, 1],
    [13, 13],
    [8, 14],
    [31, 31],
    [9, 32],
    [99, 99],
    [2, 100],
  ] as const) {
    driver.send({ at }, { timestamp: BigInt(log) * 1000n });
  }
  await driver.beat(500_000_000n);
  return (await driver.outputs<null, { text: string }>('counted')).map(({ value }) => value?.text);
}

describe('a former name', () => {
  test('is the name of now with the same value at the same place, and is told once', () => {
    const warn = jest.fn();
    const given = { intervals: ['1m'], latenessMs: 7, horizonMs: 8, partialMs: 0 };
    const named = underNewNames('ohlcv', given, { warn: once(warn) });
    expect(JSON.stringify(named)).toBe('{"intervals":["1m"],"watermarkDelayMs":7,"allowedLatenessMs":8,"partialMs":0}');
    expect(warn.mock.calls).toEqual([
      ['ohlcv.latenessMs is deprecated: it is called ohlcv.watermarkDelayMs now'],
      ['ohlcv.horizonMs is deprecated: it is called ohlcv.allowedLatenessMs now'],
    ]);
  });

  test('beside the name of now is refused, with both names', () => {
    expect(() => underNewNames('features', { horizonMs: 1, allowedLatenessMs: 1 })).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: 'features.horizonMs and features.allowedLatenessMs are two names of one setting',
        remedy: 'Give features.allowedLatenessMs only.',
      }),
    );
  });

  test('that is absent leaves the values as they are, the same object', () => {
    const given = { watermarkDelayMs: 1 };
    expect(underNewNames('manifest', given)).toBe(given);
    expect(renamed('kafka').size).toBe(0);
  });
});

describe('options of windows in a program', () => {
  let warned: ReturnType<typeof jest.spyOn>;
  beforeEach(() => {
    warned = jest.spyOn(process, 'emitWarning').mockReturnValue(undefined);
  });
  afterEach(() => warned.mockRestore());

  test('mean the same under their former names, and a warning names those of now, once in a process', async () => {
    const now = await outputs(processorOf('windows', { watermarkDelay: 5e6, allowedLateness: 30e6 }));
    expect(now).toContain('REVISED');
    expect(now).toContain('NOT_APPLIED');
    const sessionsNow = await outputs(processorOf('sessions', { watermarkDelay: 5e6 }));
    expect(warned).not.toHaveBeenCalled();
    expect(await outputs(processorOf('windows', { lateness: 5e6, horizon: 30e6 }))).toEqual(now);
    expect(await outputs(processorOf('windows', { lateness: 5e6, allowedLateness: 30e6 }))).toEqual(now);
    expect(await outputs(processorOf('sessions', { lateness: 5e6 }))).toEqual(sessionsNow);
    expect(warned.mock.calls).toEqual([
      ['lateness is deprecated: it is called watermarkDelay now', 'DeprecationWarning'],
      ['horizon is deprecated: it is called allowedLateness now', 'DeprecationWarning'],
    ]);
  });

  test('are refused under both names, by the types and when they are made', async () => {
    // @ts-expect-error: two names of one option.
    const twice = processorOf('sessions', { lateness: 5e6, watermarkDelay: 5e6 });
    await expect(outputs(twice)).rejects.toThrow('lateness and watermarkDelay are two names of one setting');
    // @ts-expect-error: neither name.
    processorOf('sessions', {});
  });
});

describe('what was stored under the former names', () => {
  const double = (name: string) => ({ name, type: 'double' });
  const times = ['max_event', 'max_log', 'floor', 'lateness'].map(double);
  const record = (name: string, fields: object[]) => ({ type: 'record', name, namespace: 'millrace.windows', fields });
  const progress = { max_event: 1, max_log: 2, floor: 3, lateness: 4 };

  test.each<[string, object, StoreDefinition | undefined, object]>([
    [
      'keys',
      record('KeyProgress', [...times, double('horizon'), double('frozen'), { name: 'plan', type: 'string' }]),
      keyStore,
      { ...progress, horizon: 5, frozen: 6, plan: '1m' },
    ],
    ['session-keys', record('SessionKey', times), sessionStores(counts)[0], progress],
  ])('state of %s is read by this release', (name, schema, store, value) => {
    const bytes = new ValueCodec<object>({ name, schema }).encode('a', value);
    expect(new ValueCodec<object>(store as StoreDefinition).decode('a', bytes).value).toEqual(value);
  });

  test('settings of a journal are those of a processor that reads former names; others are not', () => {
    const make = (value: object): Processor<Tick> => ({
      ...processorOf('sessions', { watermarkDelay: 0 }),
      settings: {
        value,
        remake: (other: object) => {
          if ('wrong' in other) throw new TypeError('wrong');
          return make(underNewNames('ohlcv', other));
        },
      },
    });
    const { settings } = make({ watermarkDelayMs: 5 });
    if (settings === undefined) throw new Error('no settings');
    expect(isMadeWith(settings, '{"latenessMs":5}')).toBe(true);
    expect(isMadeWith(settings, '{"watermarkDelayMs":5}')).toBe(true);
    expect(isMadeWith(settings, '{"latenessMs":6}')).toBe(false);
    expect(isMadeWith(settings, '{"wrong":5}')).toBe(false);
  });
});
