import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { MemoryStore } from './fixture.ts';
import { KeyedPattern } from './keyed.ts';
import { advance, offer, startPattern } from './matcher.ts';
import {
  type Absence,
  definePattern,
  isTake,
  type Pattern,
  type PatternEvent,
  type Step,
  type Take,
  timesOf,
} from './pattern.ts';

type Event = PatternEvent<string>;

/** A match by positions of its events, and when and by what it was decided: time before an event of the same time. */
interface Found {
  readonly events: readonly number[];
  readonly time: bigint;
  readonly by: number;
}

/**
 * The definition, over a history that is known whole: from each start, the one way in which the steps can be walked. Written without states
 * and without time passing: it looks ahead.
 */
function walk(pattern: Pattern<string>, all: readonly Event[], start: number, end: bigint): Found | undefined {
  const first = all[start] as Event;
  const limit = first.time + pattern.within;
  const events: number[] = [];
  let position = start - 1;
  let since = first.time;
  const matched = (name: string): readonly Event[] =>
    events.filter((_, at) => owners[at] === name).map((at) => all[at] as Event);
  const owners: string[] = [];
  const accept = (step: Take<string>, at: number): void => {
    events.push(at);
    owners.push(step.name);
    position = at;
    since = (all[at] as Event).time;
  };
  const matches = (step: Step<string> | undefined, at: number): boolean =>
    step !== undefined && isTake(step) && at < all.length && step.where(all[at] as Event, matched);
  const inTime = (at: number): boolean => at < all.length && (all[at] as Event).time <= limit;

  for (let k = 0; k < pattern.steps.length; k++) {
    const step = pattern.steps[k] as Step<string>;
    if (!isTake(step)) {
      if (step.for === undefined) continue;
      const over = since + step.for;
      if (over > limit || over > end) return undefined;
      const strict = pattern.contiguity === 'strict';
      let at = position + 1;
      for (; at < all.length && (all[at] as Event).time < over; at++) {
        if (strict || step.absent(all[at] as Event, matched)) return undefined;
      }
      position = at - 1;
      since = over;
      if (k === pattern.steps.length - 1) return { events, time: over, by: -1 };
      continue;
    }
    const { min, max } = timesOf(step);
    const before = pattern.steps[k - 1];
    const guardBefore = before !== undefined && !isTake(before) && before.for === undefined ? before : undefined;
    const after = pattern.steps[k + 1];
    const guardAfter =
      after !== undefined && !isTake(after) && after.for === undefined ? (after as Absence<string>) : undefined;
    const following = guardAfter === undefined ? after : pattern.steps[k + 2];
    let count = 0;
    for (let at = position + 1; count < max; at++) {
      if (!inTime(at)) return undefined;
      const event = all[at] as Event;
      if (count === 0 && guardBefore?.absent(event, matched) === true) return undefined;
      if (matches(step, at)) {
        accept(step, at);
        count++;
        continue;
      }
      if (count >= min && guardAfter?.absent(event, matched) === true) return undefined;
      if (count >= min && matches(following, at)) break;
      if (k === 0 && count === 0) return undefined;
      if (pattern.contiguity === 'strict') return undefined;
    }
  }
  return { events, time: (all[position] as Event).time, by: position };
}

function expected(pattern: Pattern<string>, all: readonly Event[], end: bigint): string[] {
  const found = all.flatMap((_, start) => walk(pattern, all, start, end) ?? []);
  // What time decides comes before the events of that time.
  found.sort((a, b) =>
    a.time === b.time ? a.by - b.by || (a.events[0] ?? 0) - (b.events[0] ?? 0) : a.time < b.time ? -1 : 1,
  );
  let cut = 0;
  const kept: string[] = [];
  for (const match of found) {
    if ((match.events[0] ?? 0) < cut) continue;
    kept.push(`${match.events.join(',')}@${match.time}`);
    if (pattern.afterMatch === 'skip past last') cut = Math.max(cut, (match.events.at(-1) ?? 0) + 1);
  }
  return kept;
}

const condition = fc.constantFrom('a', 'b', 'c', 'ab', 'rising').map((name) => ({
  name,
  where: (event: Event, matched: (step: string) => readonly Event[]): boolean =>
    name === 'rising' ? event.value > (matched('s0').at(-1)?.value ?? 'a') : name.includes(event.value),
}));

const times = fc.oneof(
  { weight: 3, arbitrary: fc.constant(1) },
  fc.constant(2),
  fc.record({ min: fc.constantFrom(1, 2), max: fc.constantFrom(2, 3) }),
  fc.constantFrom(1, 2).map((min) => ({ min })),
);
const takes = fc
  .record({ where: condition, times })
  .map(({ where, times }): Omit<Take<string>, 'name'> => ({ where: where.where, times }));
const absences = fc.record({ where: condition, lasting: fc.option(fc.bigInt(1n, 6n)) }).map(
  ({ where, lasting }): Omit<Absence<string>, 'name'> => ({
    absent: where.where,
    ...(lasting !== null && { for: lasting }),
  }),
);

const patterns = fc
  .record({
    steps: fc.array(fc.oneof({ weight: 3, arbitrary: takes }, { weight: 1, arbitrary: absences }), {
      minLength: 1,
      maxLength: 4,
    }),
    within: fc.bigInt(6n, 12n),
    contiguity: fc.constantFrom('relaxed', 'strict'),
    afterMatch: fc.constantFrom('keep all', 'skip past last'),
  })
  .map(
    ({ steps, ...rest }) =>
      ({ ...rest, name: 'p', steps: steps.map((step, at) => ({ ...step, name: `s${at}` })) }) as Pattern<string>,
  )
  .filter((pattern) => {
    try {
      definePattern({ ...pattern });
      return true;
    } catch {
      return false;
    }
  });

const histories = fc
  .array(fc.record({ value: fc.constantFrom('a', 'b', 'c'), pause: fc.bigInt(0n, 4n) }), { maxLength: 14 })
  .map((steps) => {
    let time = 0n;
    return steps.map(({ value, pause }, at): Event => {
      time += pause;
      return { id: `${at}`, time, value };
    });
  });

describe('matching', () => {
  test('finds what the definition says, however time passes between the events', () => {
    fc.assert(
      fc.property(patterns, histories, fc.array(fc.bigInt(0n, 60n), { maxLength: 6 }), (pattern, all, pauses) => {
        const end = 100n;
        let state = startPattern<string>();
        const found: string[] = [];
        const passing = [...pauses].sort((a, b) => (a < b ? -1 : 1));
        const take = ({ state: next, outcomes }: ReturnType<typeof offer<string>>): void => {
          state = next;
          for (const outcome of outcomes) {
            if (outcome.kind === 'match') found.push(`${outcome.events.map(({ id }) => id).join(',')}@${outcome.time}`);
            else throw new Error(outcome.kind);
          }
        };
        for (const event of all) {
          while (passing[0] !== undefined && passing[0] <= event.time)
            take(advance(pattern, state, passing.shift() as bigint));
          take(offer(pattern, state, event));
        }
        take(advance(pattern, state, end));
        expect(found).toEqual(expected(pattern, all, end));
        expect(state.attempts).toEqual([]);
      }),
      { numRuns: 3000 },
    );
  });

  test('of many keys finds for each what it would find alone, also when its memory is rebuilt from its store', () => {
    const keyed = fc.array(fc.record({ key: fc.constantFrom('x', 'y'), crash: fc.boolean() }), {
      minLength: 14,
      maxLength: 14,
    });
    fc.assert(
      fc.property(patterns, histories, keyed, (pattern, all, keys) => {
        const store = new MemoryStore<never>();
        let patternOf = new KeyedPattern(pattern, store as never, Number.POSITIVE_INFINITY);
        const found: Record<string, string[]> = { x: [], y: [] };
        const add = (key: string, outcome: { kind: string; events?: readonly Event[]; time: bigint }): void => {
          found[key]?.push(`${outcome.events?.map(({ id }) => id).join(',')}@${outcome.time}`);
        };
        for (const [at, event] of all.entries()) {
          const { key = 'x', crash = false } = keys[at] ?? {};
          patternOf.advance(event.time, add);
          for (const outcome of patternOf.offer(key, event)) add(key, outcome);
          if (crash) {
            patternOf = new KeyedPattern(pattern, store as never, Number.POSITIVE_INFINITY);
            patternOf.restored();
          }
        }
        patternOf.advance(100n, add);
        expect([patternOf.size, patternOf.deadline()]).toEqual([0, undefined]);
        for (const key of ['x', 'y']) {
          const own = all.filter((_, at) => (keys[at]?.key ?? 'x') === key);
          const alone = expected(pattern, own, 100n);
          const named = alone.map((text) =>
            text.replace(/^[\d,]+/, (ids) =>
              ids
                .split(',')
                .map((id) => own[Number(id)]?.id)
                .join(','),
            ),
          );
          expect(found[key]).toEqual(named);
        }
      }),
      { numRuns: 500 },
    );
  });
});
