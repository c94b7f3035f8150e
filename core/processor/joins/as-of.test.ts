import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { AsOfJoin, type Waiting } from './as-of.ts';
import { type StoredVersion, Versions } from './versions.ts';

interface Left {
  readonly id: string;
  readonly key: string;
  readonly time: number;
}

interface State {
  readonly versions: Map<string, StoredVersion<string>>;
  readonly waiting: Map<string, Waiting<Left>>;
}

const nothing = (): State => ({ versions: new Map(), waiting: new Map() });

function open(wait: number, decided: string[], state: State = nothing(), retention = 10_000): AsOfJoin<Left, string> {
  const join = new AsOfJoin<Left, string>({
    versions: new Versions(state.versions, retention),
    waiting: state.waiting,
    wait,
    ask: (left) => left,
    decide: ({ id }, held) => decided.push(`${id}=${held.kind === 'version' ? held.version.value : held.kind}`),
  });
  join.restored();
  return join;
}

const trade = (id: string, time: number, key = 'k'): Left => ({ id, key, time });

describe('an as-of join', () => {
  test('gives a trade the latest quote at or before its event time, not one after it, not one of another key', () => {
    const decided: string[] = [];
    const join = open(0, decided);
    join.right('k', 10, 0n, 'q10');
    join.right('k', 20, 0n, 'q20');
    join.right('other', 19, 0n, 'not mine');
    join.left(trade('a', 19), 0);
    join.left(trade('b', 20), 0);
    join.left(trade('c', 9), 0);
    expect(decided).toEqual(['a=q10', 'b=q20', 'c=none']);
  });

  test('says when the quotes of that time are forgotten', () => {
    const decided: string[] = [];
    const join = open(0, decided, nothing(), 100);
    for (const time of [0, 50, 300]) join.right('k', time, 0n, `q${time}`);
    join.left(trade('a', 49), 0);
    expect(decided).toEqual(['a=forgotten']);
  });

  test('waits so long in log time for earlier quotes, then decides, and a quote that comes later changes nothing', () => {
    const decided: string[] = [];
    const join = open(50, decided);
    join.right('k', 10, 0n, 'q10');
    join.left(trade('a', 30), 1000);
    join.advance(1049);
    expect(decided).toEqual([]);
    join.right('k', 25, 0n, 'q25');
    expect(join.deadline()).toBe(1050n);
    join.advance(1050);
    join.right('k', 29, 0n, 'q29');
    join.advance(2000);
    expect(decided).toEqual(['a=q25']);
    expect([join.size, join.deadline()]).toEqual([0, undefined]);
  });

  test('decides in the order in which trades came, also over a restart', () => {
    const decided: string[] = [];
    const state = nothing();
    const before = open(50, decided, state);
    before.right('k', 1, 0n, 'q1');
    for (let at = 0; at < 12; at++) before.left(trade(`t${at}`, 2), 1000);
    const after = open(50, decided, state);
    after.left(trade('last', 2), 1000);
    after.advance(1050);
    expect(decided).toEqual([...Array.from({ length: 12 }, (_, at) => `t${at}=q1`), 'last=q1']);
    expect(state.waiting.size).toBe(0);
  });

  test('does not depend on the order between the topics within the wait, nor on restarts', () => {
    const wait = 20;
    const event = fc.record({ time: fc.nat(200), side: fc.boolean(), delay: fc.nat(wait - 1), restart: fc.boolean() });
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 50 }), (events) => {
        // Each topic in its own order, the topics shifted against each other by less than the wait.
        const arrivals = events
          .map((each, id) => ({ ...each, id }))
          .sort((a, b) => a.time + a.delay - (b.time + b.delay) || a.id - b.id);
        const decided: string[] = [];
        const state = nothing();
        let join = open(wait, decided, state);
        let logTime = 0;
        for (const { time, side, id, restart } of arrivals) {
          logTime = Math.max(logTime, time);
          join.advance(logTime);
          if (side) join.right('k', time, BigInt(id), `q${id}`);
          else join.left(trade(`t${id}`, time), logTime);
          if (restart) join = open(wait, decided, state);
        }
        join.advance(logTime + wait);
        const quotes = events.map(({ time, side }, id) => ({ time, side, id })).filter(({ side }) => side);
        const expected = events.flatMap(({ time, side }, id) => {
          if (side) return [];
          const best = quotes.filter((quote) => quote.time <= time).sort((a, b) => b.time - a.time || b.id - a.id)[0];
          return [`t${id}=${best === undefined ? 'none' : `q${best.id}`}`];
        });
        expect(decided.toSorted()).toEqual(expected.toSorted());
      }),
    );
  });
});
