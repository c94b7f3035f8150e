import { expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { partitionOf } from '../../capture/routing.ts';
import { Driver, type Emitted } from '../../testing/driver.ts';
import { defineProcessor } from '../define.ts';
import { AsOfJoin, type Waiting } from './as-of.ts';
import { Dedup, type Seen } from './dedup.ts';
import { byFields } from './repartition.ts';
import { type StoredVersion, Versions } from './versions.ts';

/** A trade or a quote. Times in microseconds. */
interface Entry {
  readonly id: string;
  readonly symbol: string;
  readonly time: number;
  readonly price: number;
}

interface Priced {
  readonly id: string;
  readonly symbol: string;
  readonly quote: number | null;
}

const field = (name: string, type: unknown) => ({ name, type });
const record = (name: string, ...fields: object[]) => ({ type: 'record', name, fields });
const entry = record(
  'Entry',
  field('id', 'string'),
  field('symbol', 'string'),
  field('time', 'double'),
  field('price', 'double'),
);
const key = record('Key', field('symbol', 'string'));
const priced = record('Priced', field('id', 'string'), field('symbol', 'string'), field('quote', ['null', 'double']));

const waitMs = 5_000;
const ttlMs = 1_000_000_000;

/** Each trade once, with the quote that held at its event time, routed by symbol: an as-of join, dedup and a repartition in one. */
const price = defineProcessor<Entry>({
  name: 'price',
  version: '1',
  inputs: [
    { topic: 'trades', schema: entry, kind: 'derived' },
    { topic: 'quotes', schema: entry, kind: 'derived' },
  ],
  outputs: [{ topic: 'priced', keySchema: key, valueSchema: priced, partitionBy: byFields('symbol') }],
  stores: [Versions.store('quotes', { type: 'double' }), AsOfJoin.store('waiting', entry), Dedup.store('seen', ttlMs)],
  create(context) {
    const dedup = new Dedup(context.store<Seen>('seen'), ttlMs);
    const join = new AsOfJoin<Entry, number>({
      versions: new Versions(context.store<StoredVersion<number>>('quotes'), 3_600_000_000),
      waiting: context.store<Waiting<Entry>>('waiting'),
      wait: waitMs * 1000,
      ask: ({ symbol, time }) => ({ key: symbol, time }),
      decide: ({ id, symbol }, held) => {
        context.emit('priced', { symbol }, { id, symbol, quote: held.kind === 'version' ? held.version.value : null });
      },
    });
    return {
      restored: () => join.restored(),
      record({ topic, value, logTime }) {
        if (topic === 'quotes') join.right(value.symbol, value.time, BigInt(value.price), value.price);
        else if (dedup.admit(value.id, Number(logTime))) join.left(value, Number(context.logTime));
      },
      deadline: () => join.deadline(),
      advance: () => join.advance(Number(context.logTime)),
    };
  },
});

const partitions = 4;
const lines = (emitted: readonly Emitted<object, Priced>[]) =>
  emitted.map(({ partition, value }) => `${partition} ${value?.id} ${value?.quote}`).toSorted();

test('as-of join, dedup and repartition in one processor give the same over any portions and crashes, and what a list gives', async () => {
  const event = fc.record({
    at: fc.nat(60),
    quote: fc.boolean(),
    symbol: fc.constantFrom('A', 'B', 'C'),
    again: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { minLength: 1, maxLength: 25 }),
      fc.array(fc.nat(24), { maxLength: 3 }),
      fc.integer({ min: 1, max: 6 }),
      async (events, crashes, chunk) => {
        const sent = events.toSorted((a, b) => a.at - b.at).map((each, id) => ({ ...each, id }));
        await using driver = await Driver.open(price, { chunk, partitions, commitRecords: 3 });
        for (const { at, quote, symbol, again, id } of sent) {
          const value: Entry = { id: `t${id}`, symbol, time: at * 1_000_000, price: id };
          // Trades of all symbols come in one partition, quotes a little later than the trades of their time.
          const place = { topic: quote ? 'quotes' : 'trades', timestamp: BigInt(1000 * (quote ? at + 3 : at)) };
          driver.send(value, place);
          if (again) driver.send(value, place);
          if (!crashes.includes(id)) continue;
          await driver.run();
          driver.crash();
        }
        await driver.beat(1_000_000_000n);
        const quotes = sent.filter(({ quote }) => quote);
        const expected = sent.flatMap(({ at, quote, symbol, id }) => {
          if (quote) return [];
          const held = quotes.findLast((each) => each.symbol === symbol && each.at <= at);
          return [`${partitionOf([symbol], partitions)} t${id} ${held?.id ?? null}`];
        });
        expect(lines(await driver.outputs<object, Priced>('priced'))).toEqual(expected.toSorted());
      },
    ),
    { numRuns: 20 },
  );
});
