/** Crashes, aborted transactions and takeovers leave no trace: outputs are byte for byte those of a task that lived through all of it. */
import { expect, test } from '@jest/globals';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { redrivenHeaders } from '../../core/log/redriven.ts';
import type { Processor } from '../../core/processor/define.ts';
import { Driver } from '../../core/testing/driver.ts';
import type { TransactionFault } from '../../core/testing/memory-log.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import { features } from '../../processors/features/features.ts';
import { SETTINGS as featuresSettings } from '../../processors/features/fixture.ts';
import { ohlcv } from '../../processors/ohlcv/ohlcv.ts';
import { Feed, SETTINGS, time } from '../../processors/ohlcv/testing/fixture.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import fc from '../support/property.ts';

const minute = 60_000;

/** What happens to the table, or on the way to the log. */
const happening = fc.record({
  what: fc.oneof(
    { weight: 10, arbitrary: fc.constantFrom('create', 'create', 'create', 'update', 'delete', 'delete') },
    { weight: 3, arbitrary: fc.constantFrom('move', 'stray', 'bare', 'huge', 'again', 'redriven', 'poison') },
  ),
  /** Which trade, of those that are there. */
  which: fc.nat(30),
  symbol: fc.constantFrom('A', 'A', 'B'),
  price: fc.integer({ min: 1, max: 9 }),
  /** How long after the change before, milliseconds; and how long its event was before its commit. */
  after: fc.nat(9_000),
  ago: fc.oneof(
    { weight: 6, arbitrary: fc.nat(12_000) },
    { weight: 2, arbitrary: fc.nat(3 * minute) },
    fc.constant(-30_000),
  ),
  /** What becomes of the task then. */
  fate: fc.constantFrom(
    undefined,
    undefined,
    undefined,
    'run',
    'crash',
    'abort',
    'unknown-committed',
    'unknown-aborted',
  ),
});
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

interface Item {
  /** Null: what no schema can read. */
  readonly value: TradeChange | null;
  /** Sent again for this processor. */
  readonly redrivenFor?: string;
}

function itemsOf(happenings: readonly Happening[]): Item[] {
  const feed = new Feed();
  const rows = new Map<string, { id: string; symbol: string; at: string; price: string }>();
  const items: Item[] = [];
  const sent: TradeChange[] = [];
  const noon = time('12:00:00');
  const at = (ms: number): string => formatTimestamp(noon + BigInt(ms) * 1000n);
  let now = 4 * minute;
  for (const [index, { what, which, symbol, price: units, after, ago }] of happenings.entries()) {
    now += after;
    const log = at(now);
    const price = String(units);
    const row = [...rows.values()][which % Math.max(1, rows.size)];
    const send = (value: TradeChange): void => {
      sent.push(value);
      items.push({ value });
    };
    if (what === 'poison') items.push({ value: null });
    else if (what === 'again') for (const value of sent.slice(-(which % 5))) items.push({ value });
    else if (what === 'redriven' && sent.length > 0) {
      items.push({ value: sent[which % sent.length] as TradeChange, redrivenFor: 'somebody' });
    } else if (what === 'create' || what === 'stray' || row === undefined) {
      const next = { id: `t${index}`, symbol, at: at(now - ago), price };
      rows.set(next.id, next);
      // One that was there before the capture was.
      send(feed.change({ ...next, log, ...(what === 'stray' ? { op: 'u', was: { price: '10' } } : {}) }));
    } else if (what === 'delete') {
      rows.delete(row.id);
      send(feed.change({ ...row, op: 'd', log }));
    } else {
      const huge = what === 'huge' ? { size: '99999999999', price: '999999999' } : { price };
      const next = { ...row, ...huge, ...(what === 'move' ? { at: at(now - ago) } : {}) };
      rows.set(row.id, next);
      const change = feed.change({ ...next, op: 'u', log, was: { size: '1', ...row } });
      send(what === 'bare' ? { ...change, before: null } : change);
    }
  }
  for (const symbol of ['A', 'B'])
    items.push({ value: feed.change({ id: 'end', symbol, at: at(now + 400_000), log: at(now + 400_000) }) });
  return items;
}

/** Everything that the processor gives, in its order. @param life in one piece, with a crash before each record, or with these fates. */
async function given(
  processor: Processor<TradeChange>,
  items: readonly Item[],
  life: 'one' | 'crashes' | readonly Happening['fate'][],
): Promise<string[]> {
  await using driver = await Driver.open(processor, typeof life === 'string' ? {} : { chunk: 5, commitRecords: 3 });
  const encoder = await AvroEncoder.open<TradeChange>(driver.schemas, 'cdc.public.trades-value', schemas.trade_change);
  for (const [index, { value, redrivenFor }] of items.entries()) {
    driver.log.append({
      ...{ topic: 'cdc.public.trades', partition: 0, key: null, timestamp: 0n },
      value: value === null ? Buffer.from('poison') : encoder.encode(value),
      ...(redrivenFor === undefined
        ? {}
        : { headers: redrivenHeaders({ processor: redrivenFor, attempts: 1, firstOrigin: 'a/0/1', letter: 'b/0/1' }) }),
    });
    const fate = typeof life === 'string' ? undefined : life[index];
    if (life === 'crashes' || fate === 'crash' || fate === 'run') await driver.run();
    else if (fate !== undefined) {
      driver.fault(0, fate satisfies TransactionFault);
      await driver.run();
    }
    if (life === 'crashes' || fate === 'crash') driver.crash();
  }
  await driver.run();
  const all: string[] = [];
  for (const topic of [...processor.outputs.map((output) => output.topic), `${processor.name}.dead`]) {
    for (const { timestamp, bytes } of await driver.outputs(topic)) {
      all.push(`${topic} ${timestamp} ${bytes.key?.toString('hex')} ${bytes.value?.toString('hex')}`);
    }
  }
  return all;
}

const filled = { ...SETTINGS, intervals: ['1m'], horizonMs: minute, fillMs: 2 * minute, partialMs: 1_000 };
test.each([
  ['ohlcv', ohlcv({ ...SETTINGS, intervals: ['1m', '5m', '2m/1m', '1d'], horizonMs: 60 * minute })],
  ['ohlcv that fills gaps', ohlcv(filled)],
  ['features', features({ ...featuresSettings, horizonMs: minute })],
])('%s gives the same bytes however it is taken over', async (_, processor) => {
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { minLength: 30, maxLength: 60 }), async (happenings) => {
      const items = itemsOf(happenings);
      const one = await given(processor, items, 'one');
      const fates = happenings.map(({ fate }) => fate);
      for (const life of ['crashes', fates] as const) expect(await given(processor, items, life)).toEqual(one);
    }),
    { numRuns: 6 },
  );
});
