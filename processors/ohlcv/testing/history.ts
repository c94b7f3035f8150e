/** Arbitrary histories of a trades table: trades in time, late and from the future, updates, deletes, duplicates and poison. */

import { formatDecimal } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { TradeChange, TradeRow } from '../../../schemas/gen/trade_change.ts';
import type fastCheck from '../../../test/support/property.ts';
import type { OhlcvSettings } from '../settings.ts';
import { Feed, time } from './fixture.ts';

export const NOON = time('12:00:00');

/** A part of the log, and the heartbeat after it. */
export interface Stretch {
  readonly changes: readonly TradeChange[];
  readonly beat: bigint;
}

const stepOf = (fc: typeof fastCheck) =>
  fc.record({
    fate: fc.constantFrom(
      ...([
        'c',
        'c',
        'c',
        'c',
        'c',
        'c',
        'u',
        'u',
        'd',
        'd',
        't',
        'r',
        'future',
        'bad',
        'far',
        'twice',
        'same',
      ] as const),
    ),
    symbol: fc.constantFrom('A', 'A', 'B'),
    /** Log time since the previous change, seconds. */
    after: fc.constantFrom(0, 0, 1, 2, 7, 40),
    /** Time from a trade to its commit, seconds. */
    delay: fc.constantFrom(0, 0, 0, 1, 3, 20, 70, 400, 1_000),
    micros: fc.constantFrom(0, 0, 1, 999_999),
    price: fc.integer({ min: 1, max: 6 }),
    size: fc.nat(3),
    sequence: fc.option(fc.bigInt(0n, 2n)),
    /** Index of the trade. */
    which: fc.nat(30),
    /** Fields changed by an update. */
    changes: fc.constantFrom('price', 'size', 'time', 'all'),
  });

type Step = ReturnType<typeof stepOf> extends fastCheck.Arbitrary<infer T> ? T : never;

class History {
  readonly #feed = new Feed();
  readonly #rows = new Map<string, TradeRow>();
  #log = NOON;
  #id = 0;

  stretch(steps: readonly Step[]): Stretch {
    const changes = steps.flatMap((each) => this.#changes(each));
    this.#log += 10_000_000n;
    return { changes, beat: this.#log };
  }

  #changes(each: Step): TradeChange[] {
    this.#log += BigInt(each.after) * 1_000_000n;
    const { fate } = each;
    if (fate === 't' || fate === 'r')
      return [this.#make(this.#row(each), fate === 't' ? { op: 't' } : { op: 'r', snapshot: 'incremental' })];
    if (fate === 'twice') {
      const made = this.#create(this.#row(each));
      return [made, made];
    }
    const known = [...this.#rows.values()];
    const before = known[each.which % Math.max(1, known.length)];
    if (fate === 'c' || before === undefined) return [this.#create(this.#row(each))];
    if (fate === 'd') {
      this.#rows.delete(before.trade_id);
      return [{ ...this.#make(before, { op: 'd' }), before, after: null }];
    }
    if (fate === 'future') return [this.#create({ ...this.#row(each), executed_at: this.#at(-90_000_000n) })];
    if (fate === 'bad') return [this.#update(before, { ...before, size: -1n })];
    if (fate === 'far') return [this.#update(before, { ...before, executed_at: this.#at(-90_000_000n) })];
    if (fate === 'same') return [this.#update(before, { ...before, conditions: 'x' })];
    return [this.#update(before, this.#edit(before, each))];
  }

  #edit(before: TradeRow, each: Step): TradeRow {
    const { price, size, executed_at, venue_sequence } = this.#row(each);
    if (each.changes === 'price') return { ...before, price };
    if (each.changes === 'size') return { ...before, size };
    if (each.changes === 'time') return { ...before, executed_at };
    return { ...before, price, size, executed_at, venue_sequence };
  }

  #at(ago: bigint): string {
    return formatTimestamp(this.#log - ago);
  }

  #row(each: Step): TradeRow {
    this.#id += 1;
    return {
      venue: 'v',
      symbol: each.symbol,
      trade_id: `${this.#id % 5}-${this.#id}`,
      venue_sequence: each.sequence,
      price: BigInt(each.price) * 1_000_000n,
      size: BigInt(each.size) * 100_000n,
      side: 'buy',
      executed_at: this.#at(BigInt(each.delay) * 1_000_000n + BigInt(each.micros)),
      conditions: null,
    };
  }

  #create(row: TradeRow): TradeChange {
    this.#rows.set(row.trade_id, row);
    return this.#make(row, { op: 'c' });
  }

  #update(before: TradeRow, after: TradeRow): TradeChange {
    this.#rows.set(after.trade_id, after);
    return { ...this.#make(after, { op: 'u' }), before, after };
  }

  #make(row: TradeRow, fields: { readonly op: string; readonly snapshot?: string }): TradeChange {
    const made = this.#feed.change({
      at: '12:00:00',
      log: formatTimestamp(this.#log),
      price: formatDecimal(row.price, 8),
      ...fields,
    });
    return { ...made, before: null, after: fields.op === 't' ? null : row };
  }
}

/** @param fc fast-check, which only tests may import */
export function histories(fc: typeof fastCheck): fastCheck.Arbitrary<Stretch[]> {
  return fc.array(fc.array(stepOf(fc), { maxLength: 14 }), { minLength: 1, maxLength: 6 }).map((all) => {
    const history = new History();
    return all.map((steps) => history.stretch(steps));
  });
}

/** Includes levels that take trades directly, several of them, and overlapping ones. */
export const settings = (fc: typeof fastCheck): fastCheck.Arbitrary<OhlcvSettings> =>
  fc.record({
    intervals: fc.constantFrom(
      ['1m'],
      ['1s', '1m', '5m', '15m'],
      ['1m', '5m', '1h', '1d'],
      ['1m', '5m/1m', '15m'],
      ['2m', '3m', '6m'],
      ['5m/1m', '30s'],
    ),
    watermarkDelayMs: fc.constantFrom(0, 5_000),
    allowedLatenessMs: fc.constantFrom(0, 60_000, 600_000, 86_400_000),
    maxFutureSkewMs: fc.constant(60_000),
    partialMs: fc.constantFrom(0, 1_500),
    fillMs: fc.constantFrom(0, 0, 120_000),
  });
