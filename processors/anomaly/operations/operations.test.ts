import { describe, expect, test } from '@jest/globals';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { MemorySchemas } from '../../../core/avro/registry/memory.ts';
import { MemoryLog } from '../../../core/testing/memory-log.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import { compileRule, parseRule, toRecord } from '../rules/parse.ts';
import { Bench, candle, SETTINGS, trade } from '../testing/fixture.ts';
import { tradeNewsSchema } from '../trade-schema.ts';
import { tradesTopic } from '../trades.ts';
import { applyRules, readRules, removeRules } from './rules-topic.ts';
import { tryRules } from './trial.ts';

const STALE = { id: 'stale', type: 'stale_feed', after: '30s' };
const JUMP = { id: 'jump', type: 'price_jump', move: '2%' };

describe('the topic of rules', () => {
  function open() {
    const log = new MemoryLog();
    log.create('rules', 1);
    return { log, schemas: new MemorySchemas() };
  }
  const ids = async ({ log, schemas }: ReturnType<typeof open>) =>
    (await readRules(log, schemas)).map(({ rule }) => rule.id);

  test('holds what was applied, the newest version of each', async () => {
    const { log, schemas } = open();
    expect(await applyRules(log, schemas, [toRecord(STALE), toRecord(JUMP)], 5)).toBe(0n);
    await applyRules(log, schemas, [toRecord({ ...JUMP, move: '3%' })], 6);
    const [jump, stale] = await readRules(log, schemas);
    expect([jump?.timestamp, compileRule(jump?.rule as never)]).toEqual([
      6n,
      expect.objectContaining({ move: 3_000_000n }),
    ]);
    expect(stale).toMatchObject({ offset: 0n, timestamp: 5n });
    expect(jump?.offset).toBeGreaterThan(1n);
  });

  test('loses what is removed, and says what was not there', async () => {
    const opened = open();
    await applyRules(opened.log, opened.schemas, [toRecord(STALE), toRecord(JUMP)], 5);
    expect(await removeRules(opened.log, opened.schemas, ['jump', 'none'], 6)).toEqual(['jump']);
    expect(await ids(opened)).toEqual(['stale']);
  });

  test('has one key for each rule, also after a registry that gives other ids: compaction keeps nothing old', async () => {
    const opened = open();
    await applyRules(opened.log, opened.schemas, [toRecord(JUMP)], 5);
    // The same contract with another id, as in a rebuilt registry.
    const key = opened.log.records('rules', 0)[0]?.key as Buffer;
    const renumbered = Buffer.from(key);
    renumbered.writeInt32BE(await opened.schemas.register('x', { ...contracts.rule_key, doc: 'other' }), 1);
    const value = opened.log.records('rules', 0)[0]?.value as Buffer;
    opened.log.append({ topic: 'rules', partition: 0, key: renumbered, value, timestamp: 6n });
    await applyRules(opened.log, opened.schemas, [toRecord({ ...JUMP, move: '3%' })], 7);
    const compacted = new Map(
      opened.log.records('rules', 0).map((record) => [record.key?.toString('hex'), record.value]),
    );
    expect([...compacted.values()].filter((each) => each !== null)).toHaveLength(1);
    expect(await ids(opened)).toEqual(['jump']);
    await removeRules(opened.log, opened.schemas, ['jump'], 8);
    expect(await ids(opened)).toEqual([]);
  });
});

describe('rules that are tried on history', () => {
  const closes = ['100', '103', '103', '100', '100.5'];
  const candles = closes.map((close, at) => candle({ at, close }));
  const trades = [
    { id: 'a', log: 10 },
    { id: 'b', log: 70 },
    { id: 'c', log: 75 },
  ];

  async function history() {
    const log = new MemoryLog();
    const schemas = new MemorySchemas();
    for (const topic of ['market.candles', tradesTopic, 'market.anomalies']) log.create(topic, 2);
    log.create('beats', 1);
    const append = async (
      topic: string,
      schema: object,
      values: readonly (readonly [value: unknown, ms: number])[],
    ) => {
      const encoder = await AvroEncoder.open<unknown>(schemas, `${topic}-value`, schema);
      for (const [value, ms] of values) {
        log.append({
          topic,
          partition: topic === 'beats' ? 0 : 1,
          key: null,
          value: encoder.encode(value),
          timestamp: BigInt(ms),
        });
      }
    };
    const beat = (seconds: number) =>
      [{ op: 'u', source: { ts_us: BigInt(seconds) * 1_000_000n } }, seconds * 1000] as const;
    await append(
      'market.candles',
      contracts.candle,
      candles.map((each, at) => [each, at * 60_000] as const),
    );
    await append(
      tradesTopic,
      tradeNewsSchema,
      trades.map((each) => [trade(each), each.log * 1000] as const),
    );
    await append('beats', contracts.heartbeat_change, [beat(60), beat(200)]);
    return { log, schemas, settings: SETTINGS, heartbeatTopic: 'beats' };
  }
  const says = (rules: readonly object[]) => rules.map((each) => parseRule(each));

  test('say what the processor would have said', async () => {
    const trial = await tryRules({ ...(await history()), rules: says([JUMP, STALE]) });
    expect(trial).toMatchObject({ candles: 5, trades: 3, dead: 0, late: 0 });
    await using bench = await Bench.open({ rules: [JUMP, STALE] });
    bench.candles(...candles);
    bench.trades(trades[0] as (typeof trades)[0]);
    await bench.driver.beat(60_000_000n);
    bench.trades(...trades.slice(1));
    await bench.driver.beat(200_000_000n);
    const newest = new Map(
      (await bench.anomalies()).map(({ key, value }) => [`${key?.rule} ${key?.window_start}`, value?.explanation]),
    );
    expect(trial.anomalies.map(({ explanation }) => explanation).sort()).toEqual([...newest.values()].sort());
    expect(trial.anomalies.map(({ rule, status, revision }) => `${rule} ${status} ${revision}`)).toEqual([
      'stale REVISED 2',
      'jump RAISED 1',
      'stale RAISED 1',
      'jump RAISED 1',
    ]);
  });

  test('are shown from and to a time of the market, with baselines that reach before it', async () => {
    const range = { from: 60_000_000n, to: 180_000_000n };
    const trial = await tryRules({ ...(await history()), ...range, rules: says([JUMP]) });
    expect(trial.anomalies.map(({ window_start }) => window_start)).toEqual([60_000_000n]);
  });

  test('write nothing, neither to the log nor to the registry', async () => {
    const given = await history();
    const registered: string[] = [];
    const schemas = {
      register: async (subject: string) => {
        registered.push(subject);
        return 1;
      },
      byId: (id: number) => given.schemas.byId(id),
    };
    const before = await given.log.ends('market.anomalies');
    await tryRules({ ...given, schemas, rules: says([JUMP, STALE]) });
    expect(registered).toEqual([]);
    expect(await given.log.ends('market.anomalies')).toEqual(before);
  });
});
