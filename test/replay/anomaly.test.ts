/** Anomalies are decided by two inputs, a table and heartbeats: a replay takes all of them in the journal's order. */
import { expect, test } from '@jest/globals';
import { anomaly } from '../../processors/anomaly/anomaly.ts';
import { Bench, candle, SETTINGS } from '../../processors/anomaly/testing/fixture.ts';
import { replay } from '../../proof/replay/replay.ts';
import fc from '../support/property.ts';

const rules = [
  { id: 'jump', type: 'price_jump', move: '2%' },
  { id: 'jump', type: 'price_jump', move: '20%' },
  { id: 'level', type: 'threshold', of: 'close', above: '104', clear: '98' },
  { id: 'quiet', type: 'stale_feed', after: '20s' },
  { id: 'gap', type: 'sequence_gap' },
  { id: 'quiet', type: 'stale_feed', after: '50s', enabled: 'false' },
];

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('candle' as const),
      close: fc.integer({ min: 90, max: 110 }),
      back: fc.nat(4),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('trade' as const),
      ahead: fc.integer({ min: -1, max: 3 }),
      symbol: fc.constantFrom('A', 'B'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('rule' as const), which: fc.nat(rules.length) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('beat' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('run' as const),
      records: fc.integer({ min: 1, max: 4 }),
      crash: fc.boolean(),
    }),
  },
);

test('a replay of anomalies has no differences, whatever came in whatever order, with rules that changed, beats and crashes', async () => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 25, maxLength: 50 }),
      fc.integer({ min: 1, max: 5 }),
      async (steps, commitRecords) => {
        const settings = { ...SETTINGS, lookback: 3, revisable: 3 };
        await using bench = await Bench.open({ settings, commitRecords, chunk: 3 });
        const revisions: number[] = [];
        const numbers = { A: 100n, B: 100n };
        let seconds = 0;
        for (const each of steps) {
          seconds += 7;
          if (each.kind === 'candle') {
            const at = Math.max(0, revisions.length - each.back);
            const revision = (revisions[at] ?? 0) + 1;
            revisions[at] = revision;
            const status = revision === 1 ? 'CLOSED' : 'REVISED';
            bench.driver.send(candle({ at, close: `${each.close}`, revision, status }), {
              timestamp: BigInt(seconds * 1000),
            });
          } else if (each.kind === 'trade') {
            numbers[each.symbol] += BigInt(each.ahead);
            bench.trades({ id: `t${seconds}`, log: seconds, symbol: each.symbol, sequence: numbers[each.symbol] });
          } else if (each.kind === 'rule') {
            const rule = rules[each.which];
            if (rule === undefined) bench.removeRule('level');
            else bench.rule(rule);
          } else if (each.kind === 'beat') {
            await bench.driver.beat(BigInt(seconds) * 1_000_000n);
          } else {
            await bench.driver.run({ records: each.records });
            if (each.crash) bench.driver.crash();
          }
        }
        await bench.driver.beat(BigInt(seconds + 100) * 1_000_000n);
        const processor = anomaly(settings);
        const result = await replay({ log: bench.driver.log, schemas: bench.driver.schemas, processor, verify: true });
        expect(result.examples).toEqual([]);
        expect(result.differences).toBe(0);
        compared += result.topics.reduce((sum, topic) => sum + topic.compared, 0);
      },
    ),
    { numRuns: 40 },
  );
  expect(compared).toBeGreaterThan(50);
});
