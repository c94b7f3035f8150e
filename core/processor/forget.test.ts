/** Keys without records for a long time leave memory. Sessions and patterns forget them; windows keep what decides that a record is late. */
import { describe, expect, test } from '@jest/globals';
import { Driver } from '../testing/driver.ts';
import { type Context, defineProcessor, type Fold, type StoreDefinition } from './define.ts';
import { KeyedPattern } from './pattern/keyed.ts';
import { definePattern, type PatternOutcome, patternStateSchema } from './pattern/pattern.ts';
import type { Aggregation } from './windows/aggregation.ts';
import { Plan } from './windows/plan.ts';
import { Sessions, sessionStores } from './windows/sessions.ts';
import { Windowed, windowStores } from './windows/windowed.ts';
import { tumbling } from './windows/windows.ts';

interface Tick {
  readonly key: string;
  /** Seconds. */
  readonly at: number;
}
const tick = {
  type: 'record',
  name: 'Tick',
  fields: [
    { name: 'key', type: 'string' },
    { name: 'at', type: 'double' },
  ],
};
const said = { type: 'record', name: 'Said', fields: [{ name: 'text', type: 'string' }] };
const counts: Aggregation<Tick, { n: number }> = {
  schema: { type: 'record', name: 'N', fields: [{ name: 'n', type: 'double' }] },
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

type Say = (text: string) => void;

/** Keys that the newest `windows` has in memory. */
let keysInMemory = (): number | undefined => undefined;

const kinds: Readonly<
  Record<string, readonly [readonly StoreDefinition[], (context: Context<Tick>, say: Say) => Fold<Tick>]>
> = {
  windows: [
    windowStores(counts),
    (context, say) => {
      const plan = new Plan([tumbling('10s'), tumbling('1m')]);
      const windowed = new Windowed<Tick, { n: number }>(
        {
          aggregation: counts,
          plan: () => plan,
          watermarkDelay: 0,
          allowedLateness: 60e6,
          maxFutureSkew: 1e6,
          partial: 0,
          fill: 0,
          emit: ({ key, level, start, value }) => say(`${key} ${level} ${start / 1e6} ${value?.n}`),
          outcome: ({ key, effect }) => say(`${key} ${effect}`),
        },
        context,
      );
      keysInMemory = () => windowed.gauges()['keys'];
      return {
        restored: () => windowed.restored(),
        deadline: () => windowed.deadline(),
        advance: () => windowed.advance(),
        record: (record) => windowed.add(record.value.key, record.value, record),
      };
    },
  ],
  sessions: [
    sessionStores(counts),
    (context, say) => {
      const sessions = new Sessions<Tick, { n: number }>(
        {
          gap: 10e6,
          aggregation: counts,
          watermarkDelay: 0,
          maxFutureSkew: 1e6,
          emit: ({ key, start, value }) => say(`${key} session ${start / 1e6} ${value.n}`),
          late: (key) => say(`${key} NOT_APPLIED`),
        },
        context,
      );
      return {
        restored: () => sessions.restored(),
        deadline: () => sessions.deadline(),
        advance: () => sessions.advance(),
        record: (record) => sessions.add(record.value.key, record.value, record),
      };
    },
  ],
  patterns: [
    [{ name: 'states', schema: patternStateSchema('test', tick) }],
    (context, say) => {
      const pattern = definePattern<Tick>({
        name: 'two',
        timeouts: true,
        steps: [
          { name: 'one', where: () => true },
          { name: 'other', where: () => true },
        ],
        within: 10_000_000n,
        afterMatch: 'skip past last',
      });
      const keyed = new KeyedPattern(pattern, context.store('states'));
      const tell = (key: string, { kind }: PatternOutcome<Tick>) =>
        say(`${key} ${kind === 'late' ? 'NOT_APPLIED' : kind}`);
      return {
        restored: () => keyed.restored(),
        deadline: () => keyed.deadline(),
        advance: () => keyed.advance(context.logTime, tell),
        record: ({ value }) => {
          const event = { id: `${value.at}`, time: BigInt(value.at) * 1_000_000n, value };
          for (const outcome of keyed.offer(value.key, event)) tell(value.key, outcome);
        },
      };
    },
  ],
};

async function open(kind: string): Promise<Driver<Tick>> {
  const [stores, create] = kinds[kind] as (typeof kinds)[string];
  return Driver.open(
    defineProcessor<Tick>({
      name: 'told',
      version: '1',
      inputs: [{ topic: 'ticks', schema: tick, kind: 'derived' }],
      outputs: [{ topic: 'told', keySchema: null, valueSchema: said }],
      stores,
      create: (context) => create(context, (text) => context.emit('told', null, { text })),
    }),
  );
}

/** Entries of the state, as the changelog leaves them. */
function entries(driver: Driver<Tick>): string[] {
  const state = new Map<string, Buffer>();
  for (const { key, value } of driver.log.records('told.changelog')) {
    const name = `${key}`;
    if (!name.includes('\u0000') || name.startsWith('\u0000')) continue;
    if (value === null) state.delete(name);
    else state.set(name, value);
  }
  return [...state.keys()];
}

const texts = async (driver: Driver<Tick>): Promise<string[]> =>
  (await driver.outputs<null, { text: string }>('told')).map(({ value }) => value?.text ?? '');

const day = 86_400;

const send = (driver: Driver<Tick>, key: string, at: number, log: number): void => {
  driver.send({ key, at }, { timestamp: BigInt(log) * 1000n });
};

describe('windows', () => {
  test('of a key that has left memory take no record that comes too late: they were published before', async () => {
    for (const crashes of [false, true]) {
      await using driver = await open('windows');
      for (let i = 0; i < 20; i++) send(driver, `k${i}`, 100 + i, 100 + i);
      await driver.beat(BigInt(29 * day) * 1_000_000n);
      expect(keysInMemory()).toBe(20);
      await driver.beat(BigInt(31 * day) * 1_000_000n);
      if (crashes) driver.crash();
      const before = (await texts(driver)).length;
      send(driver, 'k0', 95, 31 * day);
      await driver.run();
      expect((await texts(driver)).slice(before)).toEqual(['k0 NOT_APPLIED', 'k0 NOT_APPLIED']);
      await driver.beat(BigInt(32 * day) * 1_000_000n);
      expect([keysInMemory(), entries(driver).length]).toEqual([0, 20]);
      send(driver, 'k0', 40 * day, 40 * day);
      await driver.beat(BigInt(41 * day) * 1_000_000n);
      expect((await texts(driver)).slice(-2)).toEqual([`k0 10s ${40 * day} 1`, `k0 1m ${40 * day} 1`]);
      expect(keysInMemory()).toBe(1);
    }
  });
});

describe.each(['sessions', 'patterns'])('%s', (kind) => {
  test('keep what is late for 30 days, then forget the key, in memory and in the changelog', async () => {
    for (const crashes of [false, true]) {
      await using driver = await open(kind);
      for (let i = 0; i < 20; i++) send(driver, `k${i}`, 100 + i, 100 + i);
      send(driver, 'k0', 130, 130);
      await driver.beat(BigInt(29 * day) * 1_000_000n);
      if (crashes) driver.crash();
      expect(entries(driver)).toHaveLength(20);
      const before = (await texts(driver)).length;
      send(driver, 'k0', 90, 29 * day);
      await driver.run();
      expect((await texts(driver)).slice(before)).toContain('k0 NOT_APPLIED');
      if (crashes) driver.crash();
      await driver.beat(BigInt(31 * day) * 1_000_000n);
      expect(entries(driver)).toEqual([]);
      if (crashes) driver.crash();
      const then = (await texts(driver)).length;
      send(driver, 'k0', 90, 31 * day);
      send(driver, 'k0', 91, 31 * day);
      await driver.beat(BigInt(32 * day) * 1_000_000n);
      const anew = (await texts(driver)).slice(then);
      expect(anew.length).toBeGreaterThan(0);
      expect(anew).not.toContain('k0 NOT_APPLIED');
      expect(entries(driver)).toHaveLength(kind === 'patterns' ? 0 : 1);
    }
  });
});

describe.each(Object.keys(kinds))('%s', (kind) => {
  test('a key that goes on is never forgotten', async () => {
    await using driver = await open(kind);
    for (let at = 0; at <= 100 * day; at += 10 * day) send(driver, 'k', at, at);
    send(driver, 'k', 5, 100 * day);
    await driver.run();
    expect((await texts(driver)).at(-1)).toBe('k NOT_APPLIED');
  });
});
