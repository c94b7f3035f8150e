import { expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import type { Context, InputRecord } from '../define.ts';
import { Recent } from './recent.ts';
import { Cells, type Sums } from './revisions/cells.ts';
import { type Version, Versions } from './versions.ts';

interface Row {
  readonly key: string;
  readonly id: string;
  readonly time: number;
  readonly price: number;
  readonly gone?: boolean;
}

const version = ({ value }: InputRecord<never>) => {
  const { key, id, time, gone, ...rest } = value as Row;
  return { key, id, time, record: gone === true ? null : { id, time, ...rest } };
};

type Priced = readonly [id: string, price: number];

/** An aggregate that tells whatever is left out, or counted twice. */
const lists: Sums<Pick<Row, 'id' | 'price'>, Priced[]> = {
  create: ({ id, price }) => [[id, price]],
  add: (into, { id, price }) => void into.push([id, price]),
  merge: (into, other) => void into.push(...other),
  copy: (of) => [...of],
};

/** A log that says what is read of it: rereads happen at once, which is after the record that asks as far as it can tell. */
class Partition {
  readonly rows: Row[] = [];
  readonly reads: string[] = [];
  readonly held: Version<Pick<Row, 'id' | 'time' | 'price'>>[] = [];
  readonly recent: Recent<Pick<Row, 'id' | 'time' | 'price'>>;
  #followers: ((record: InputRecord<unknown>) => void)[] = [];
  #waiting: (() => void)[] | undefined;

  constructor() {
    const context: Pick<Context, 'reread' | 'follow'> = {
      reread: ({ from, to }, visit, done) => {
        const answer = (): void => {
          if (from < to) this.reads.push(`${from}-${to}`);
          for (let at = Number(from); at < Number(to); at++) visit(this.#record(at));
          done();
        };
        if (this.#waiting === undefined) answer();
        else this.#waiting.push(answer);
      },
      follow: (_topic, visit) => {
        this.#followers.push(visit);
        return () => {
          this.#followers = this.#followers.filter((each) => each !== visit);
        };
      },
    };
    this.recent = new Recent(context, { version, held: (key) => this.held.filter((each) => each.key === key) });
  }

  get followers(): number {
    return this.#followers.length;
  }

  add(...rows: readonly Row[]): void {
    for (const row of rows) {
      this.rows.push(row);
      for (const visit of this.#followers) visit(this.#record(this.rows.length - 1));
    }
  }

  /** All of it is asked for by one record. */
  atOnce<T>(ask: () => T): T {
    const waiting: (() => void)[] = [];
    this.#waiting = waiting;
    const answers = ask();
    this.#waiting = undefined;
    for (const answer of waiting) answer();
    return answers;
  }

  /** Prices of the key's records in `[start, end)`, of a window that began at `from`. */
  ask(key: string, from: number, [start, end]: readonly [number, number] = [0, 100], oldest = 0): readonly Priced[] {
    const holds = (time: number) => start <= time && time < end;
    const inside: Priced[] = [];
    this.recent.ask(
      {
        ...{ topic: 't', key, from: BigInt(from), to: BigInt(this.rows.length) },
        ...{ holds, oldest: () => BigInt(oldest) },
      },
      (found) => {
        for (const { id, price } of found.within(start, end, BigInt(from))) inside.push([id, price]);
        expect(String((found.total(start, end, BigInt(from), lists) ?? []).sort())).toBe(String([...inside].sort()));
      },
    );
    return inside.sort();
  }

  /** The same by reading the log once more from there, and nothing that came before. */
  expected(key: string, from: number, [start, end]: readonly [number, number] = [0, 100]): readonly Priced[] {
    const versions = new Versions<Pick<Row, 'id' | 'time' | 'price'>>();
    for (let at = from; at < this.rows.length; at++) {
      const record = this.#record(at);
      const said = version(record as InputRecord<never>);
      if (said.key === key) versions.take(said, record);
    }
    return [...versions.found(new Map()).within(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 0n)]
      .filter(({ time }) => start <= time && time < end)
      .map(({ id, price }) => [id, price] as Priced)
      .sort();
  }

  #record(at: number): InputRecord<unknown> {
    return { topic: 't', partition: 0, offset: BigInt(at), logTime: 0n, lsn: BigInt(at), value: this.rows[at] };
  }
}

const row = (id: string, price: number, over: Partial<Row> = {}): Row => ({ key: 'k', id, time: 5, price, ...over });
const many = (count: number, over: Partial<Row> = {}): Row[] =>
  Array.from({ length: count }, (_, at) => row(`${over.key ?? 'k'}${at}`, 1, { time: 500, ...over }));

test('the log is read for the first question only: what comes since is taken as it comes', () => {
  const partition = new Partition();
  partition.add(row('a', 1), row('b', 2), row('other', 9, { key: 'l' }));
  expect(partition.ask('k', 0)).toEqual([
    ['a', 1],
    ['b', 2],
  ]);
  partition.add(row('a', 7), row('c', 3), row('b', 0, { gone: true }), row('other', 8, { key: 'l' }));
  expect(partition.ask('k', 0)).toEqual([
    ['a', 7],
    ['c', 3],
  ]);
  expect(partition.ask('l', 2)).toEqual([['other', 8]]);
  expect(partition.reads).toEqual(['0-3']);
});

test('a question that begins earlier reads once more, from where the earliest window begins, so that the next ones need not', () => {
  const partition = new Partition();
  partition.add(...many(10), row('a', 1), row('b', 2));
  expect(partition.ask('k', 11)).toEqual([['b', 2]]);
  expect(partition.ask('k', 10, [0, 100], 3)).toEqual([
    ['a', 1],
    ['b', 2],
  ]);
  expect(partition.ask('k', 3, [400, 600], 3)).toHaveLength(7);
  expect(partition.reads).toEqual(['11-12', '3-12']);
  expect(partition.followers).toBe(1);
});

test('two questions of one record are answered, and one of them is kept', () => {
  const partition = new Partition();
  partition.add(row('a', 1), row('b', 2, { key: 'l' }));
  const both = partition.atOnce(() => [partition.ask('k', 0), partition.ask('l', 0)]);
  expect(both).toEqual([[['a', 1]], [['b', 2]]]);
  expect(partition.followers).toBe(1);
  partition.add(...many(1_100));
  expect(partition.followers).toBe(0);
});

test('a range too long to be kept is read for its window alone', () => {
  const partition = new Partition();
  partition.add(row('a', 1), ...many(33_000), row('b', 2));
  const both = [
    ['a', 1],
    ['b', 2],
  ];
  expect([partition.ask('k', 0), partition.ask('k', 0)]).toEqual([both, both]);
  expect(partition.reads).toEqual(['0-33002', '0-33002']);
  expect(partition.followers).toBe(0);
});

test('what nobody asks for is let go after as many records as reading it again would take', () => {
  const partition = new Partition();
  partition.add(row('a', 1));
  partition.ask('k', 0);
  partition.add(...many(1_001));
  expect(partition.followers).toBe(1);
  partition.ask('k', 0);
  partition.add(...many(1_001));
  expect(partition.followers).toBe(1);
  partition.add(row('a', 2));
  expect(partition.followers).toBe(0);
  expect(partition.ask('k', 0)).toEqual([['a', 2]]);
  expect(partition.reads).toEqual(['0-1', '0-2004']);
});

test('more records than fit are let go, however often they are asked for', () => {
  const partition = new Partition();
  partition.add(row('a', 1));
  partition.ask('k', 0);
  for (let more = 0; more < 70; more++) {
    partition.add(...many(1_000, { key: `l${more}` }));
    if (partition.followers === 1) expect(partition.ask('k', 0)).toEqual([['a', 1]]);
  }
  expect(partition.reads).toEqual(['0-1']);
  expect(partition.followers).toBe(0);
});

test('what came before the window began is not in the answer, although another question has it read', () => {
  const partition = new Partition();
  partition.add(row('before', 1), row('a', 2), row('b', 3));
  expect(partition.ask('k', 0)).toHaveLength(3);
  expect(partition.ask('k', 1)).toEqual([
    ['a', 2],
    ['b', 3],
  ]);
  partition.add(row('before', 4));
  expect(partition.ask('k', 1)).toHaveLength(3);
  expect(partition.reads).toEqual(['0-3']);
});

test('of a record whose last change was not taken the answer has what is held, also where the log was read before', () => {
  const partition = new Partition();
  partition.add(row('a', 1), row('b', 2), row('refused', 3));
  expect(partition.ask('k', 0)).toHaveLength(3);
  partition.add(row('a', 9), row('b', 9, { time: 500 }));
  const held = (id: string, price?: number) => ({
    ...{ key: 'k', id, time: 5 },
    record: price === undefined ? null : { id, price, time: 5 },
  });
  partition.held.push(held('a', 1), held('b', 2), held('refused'), { ...held('other', 7), key: 'l' });
  const both = [
    ['a', 1],
    ['b', 2],
  ];
  expect(partition.ask('k', 0)).toEqual(both);
  expect(partition.ask('k', 0, [0, 60_000_000])).toEqual(both);
  expect(partition.ask('k', 0, [400, 600])).toEqual([]);
  partition.held.length = 0;
  expect(partition.ask('k', 0)).toEqual([
    ['a', 9],
    ['refused', 3],
  ]);
});

test('whatever is asked, in whatever order, the answer is what the log says from where the window began', () => {
  const change = fc.record({
    key: fc.constantFrom('k', 'l'),
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    time: fc.constantFrom(5, 70_000_000, 9e9),
    price: fc.nat(9),
    gone: fc.boolean(),
  });
  const windows: readonly (readonly [number, number])[] = [
    [0, 10],
    [60_000_000, 120_000_000],
    [0, 70_000_001],
    [0, 1e10],
  ];
  const ask = fc.record({ window: fc.constantFrom(...windows), from: fc.nat(59) });
  const step = fc.record({ change, ask: fc.option(ask) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const partition = new Partition();
      for (const each of steps) {
        partition.add(each.change);
        if (each.ask === null) continue;
        const { key } = each.change;
        const from = each.ask.from % partition.rows.length;
        expect(partition.ask(key, from, each.ask.window)).toEqual(partition.expected(key, from, each.ask.window));
      }
    }),
  );
});

test('a crowd of changes of one minute gives what the log says, after each of them', () => {
  const change = fc.record({ at: fc.nat(299), time: fc.constantFrom(5, 59_000_000, 60_000_000), gone: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), fc.nat(40), (changes, from) => {
      const partition = new Partition();
      partition.add(...many(300, { time: 5 }));
      partition.ask('k', 0);
      for (const { at, ...rest } of changes) {
        partition.add(row(`k${at}`, 2, rest));
        for (const window of [
          [0, 60_000_000],
          [0, 120_000_000],
          [0, 30_000_000],
        ] as const) {
          expect(String(partition.ask('k', from, window))).toBe(String(partition.expected('k', from, window)));
        }
      }
      expect(partition.reads).toHaveLength(1);
    }),
    { numRuns: 10 },
  );
});

test('a minute that no record is of any more is forgotten', () => {
  const cells = new Cells<string, { record: string; time: number; offset: bigint }>();
  const all = Array.from({ length: 1_000 }, (_, at) => ({
    record: 'a',
    time: (at % 3) * 60_000_000,
    offset: BigInt(at),
  }));
  const placed = all.map((each) => [each, cells.add(each)] as const);
  expect(cells.size).toBe(3);
  for (const [each, cell] of placed) cells.delete(each, cell);
  expect([cells.size, [...cells.overlapping(0, 1e12)]]).toEqual([0, []]);
});
