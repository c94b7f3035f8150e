import { describe, expect, test } from '@jest/globals';
import { formatTimestamp } from '../../../core/values/time.ts';
import fc from '../../../test/support/property.ts';
import type { ParsedRow } from '../rows/row.ts';
import { Numbering } from './numbering.ts';

interface Given {
  readonly at?: number;
  readonly symbol?: string;
  readonly price?: string;
  readonly id?: string | null;
  readonly sequence?: string | null;
  readonly side?: string;
}

function row({ at = 0, symbol = 's', price = '1', id = null, sequence = null, side = 'buy' }: Given): ParsedRow {
  return {
    line: 1,
    venue: 'v',
    symbol,
    tradeId: id,
    venueSequence: sequence,
    price,
    size: '1',
    side,
    executedAt: formatTimestamp(1_700_000_000_000_000n + BigInt(at) * 1_000n),
    millis: 1_700_000_000_000 + at,
    conditions: null,
  };
}

function numbered(rows: readonly Given[], sequenced = false) {
  const numbering = new Numbering(5_000, sequenced);
  return rows.map((each) => numbering.number(row(each)));
}

const ids = (rows: readonly Given[]) => numbered(rows).map(({ tradeId }) => tradeId);

/** Order of trades at one time in candles. */
function inOrder(rows: ReturnType<typeof numbered>) {
  return rows.toSorted((a, b) => {
    if (a.executedAt !== b.executedAt) return a.executedAt < b.executedAt ? -1 : 1;
    const sequence = BigInt(a.venueSequence ?? -1) - BigInt(b.venueSequence ?? -1);
    return sequence === 0n ? Buffer.compare(Buffer.from(a.tradeId), Buffer.from(b.tradeId)) : sequence < 0n ? -1 : 1;
  });
}

const trades = fc.array(fc.record({ at: fc.nat(3), price: fc.constantFrom('1', '2', '3') }), { maxLength: 40 });
const byTime = (rows: readonly { at: number; price: string }[]) => rows.toSorted((a, b) => a.at - b.at);

describe('a made id', () => {
  test('is the same when rows were appended, put before, or are in another order', () => {
    fc.assert(
      fc.property(trades, trades, (some, others) => {
        const alone = ids(some);
        expect(ids([...some, ...others]).slice(0, some.length)).toEqual(alone);
        expect(ids(some.toReversed()).toSorted()).toEqual(alone.toSorted());
        const all = new Set(ids([...others, ...some]));
        expect(alone.every((id) => all.has(id))).toBe(true);
      }),
    );
  });

  test('is another one for each of several equal rows, also with a row of another time between them', () => {
    const found = ids([{ at: 1_000 }, { at: 2_000 }, { at: 1_000 }, { at: 1_000 }]);
    expect(new Set(found).size).toBe(4);
    expect(found.map((id) => id.split('-')[1])).toEqual(['1', '1', '2', '3']);
  });

  test('does not depend on the side, so that the same trade with another side is told and not added', () => {
    expect(ids([{ side: 'buy' }])).toEqual(ids([{ side: 'sell' }]));
  });

  test('is of 96 bits of hash and the count', () => {
    expect(ids([{}])[0]).toMatch(/^[0-9a-f]{24}-1$/);
  });

  test('needs the memory of its window only', () => {
    const numbering = new Numbering(5_000, false);
    for (let at = 0; at < 100_000; at += 1) numbering.number(row({ at: at * 1_000 }));
    expect(numbering.instants).toBeLessThan(10);
  });
});

describe('a sequence', () => {
  test('is there only where ids would turn the order of two rows of one time round', () => {
    const sequences = (rows: readonly Given[]) => numbered(rows).map(({ venueSequence }) => venueSequence);
    expect(sequences([{ id: '1' }, { id: '2' }, { id: '3', at: 1 }, { id: '1', at: 2 }])).toEqual([
      null,
      null,
      null,
      null,
    ]);
    expect(sequences([{ id: '9' }, { id: '10' }, { id: '11' }, { id: '0' }, { id: '1', at: 1 }])).toEqual([
      null,
      '1',
      '1',
      '2',
      null,
    ]);
    expect(sequences([{ id: '2' }, { id: '1', symbol: 'other' }])).toEqual([null, null]);
  });

  test('of the file is left as it is', () => {
    const found = numbered([{ id: '2', sequence: '8' }, { id: '1', sequence: null }, { sequence: '9' }], true);
    expect(found.map(({ venueSequence }) => venueSequence)).toEqual(['8', null, '9']);
  });

  test('and ids keep the order of the file inside one time, never leaving a number out', () => {
    fc.assert(
      fc.property(trades, (some) => {
        const rows = numbered(byTime(some));
        expect(inOrder(rows)).toEqual(rows);
        for (const [index, each] of rows.entries()) {
          const before = rows[index - 1];
          const last = before?.executedAt === each.executedAt ? BigInt(before.venueSequence ?? 0) : 0n;
          expect(BigInt(each.venueSequence ?? 0) - last).toBeLessThanOrEqual(1n);
        }
      }),
    );
  });
});
