import { describe, expect, test } from '@jest/globals';
import { avroType } from '../../avro/types.ts';
import { advance, offer, patternDeadline, startPattern } from './matcher.ts';
import { definePattern, type Pattern, type PatternOutcome, type PatternState, patternStateSchema } from './pattern.ts';

type Letter = { readonly letter: string; readonly n: number };

const is =
  (letter: string) =>
  (event: { readonly value: Letter }): boolean =>
    event.value.letter === letter;

/** `a0 b5 .9`: letters with their times; a dot lets time pass. A digit after a colon is the event's number. */
function run(pattern: Pattern<Letter>, text: string): { found: string[]; state: PatternState<Letter> } {
  const checked = definePattern(pattern);
  let state = startPattern<Letter>();
  const found: string[] = [];
  for (const word of text.split(' ')) {
    const [, letter = '', time = '0', n = '0'] = /^(\D)(\d+)(?::(\d+))?$/.exec(word) ?? [];
    const event = { id: `${letter}${time}`, time: BigInt(time), value: { letter, n: Number(n) } };
    const result = letter === '.' ? advance(checked, state, event.time) : offer(checked, state, event);
    state = result.state;
    found.push(...result.outcomes.map(show));
  }
  return { found, state };
}

function show(outcome: PatternOutcome<Letter>): string {
  if (outcome.kind === 'late') return `late ${outcome.event.id}`;
  const events = outcome.events.map(({ id }) => id).join(' ');
  return `${outcome.kind === 'match' ? '' : 'timeout '}${events}@${outcome.time}`;
}

const A = { name: 'a', where: is('a') };
const B = { name: 'b', where: is('b') };
const C = { name: 'c', where: is('c') };
const AB: Pattern<Letter> = { name: 'ab', steps: [A, B], within: 10n };

describe('a sequence', () => {
  test('matches its events in their order, whatever comes between', () => {
    expect(run(AB, 'b0 a1 c2 b3').found).toEqual(['a1 b3@3']);
  });

  test('of strict contiguity is ended by an event that fits nowhere', () => {
    expect(run({ ...AB, contiguity: 'strict' }, 'a1 c2 b3 a4 b5').found).toEqual(['a4 b5@5']);
  });

  test('has conditions that look at what was taken before', () => {
    const higher = {
      ...AB,
      steps: [A, { name: 'b', where: ({ value }, matched) => value.n > (matched('a')[0]?.value.n ?? 0) }],
    } satisfies Pattern<Letter>;
    expect(run(higher, 'a0:5 b1:5 b2:6').found).toEqual(['a0 b2@2']);
  });

  test('may take no longer than within, and exactly within is not longer', () => {
    expect(run(AB, 'a0 b10').found).toEqual(['a0 b10@10']);
    expect(run(AB, 'a0 b11').found).toEqual([]);
  });

  test('that ran out of time is an outcome where that is asked for, at the last instant of within', () => {
    const timed = { ...AB, timeouts: true };
    expect(run(timed, 'a0 .10').found).toEqual([]);
    expect(run(timed, 'a0 .11').found).toEqual(['timeout a0@10']);
    expect(run(timed, 'a0 c30').found).toEqual(['timeout a0@10']);
    expect(run(AB, 'a0 .30').state.attempts).toEqual([]);
  });

  test('begins anew with each event that fits its first step', () => {
    expect(run(AB, 'a0 a1 b2').found).toEqual(['a0 b2@2', 'a1 b2@2']);
  });

  test('of one step matches each event that fits', () => {
    expect(run({ ...AB, steps: [A] }, 'a0 b1 a2').found).toEqual(['a0@0', 'a2@2']);
  });
});

describe('a step that takes several events', () => {
  test('takes exactly so many', () => {
    const thrice = { ...AB, steps: [{ ...A, times: 3 }, B], afterMatch: 'skip past last' } satisfies Pattern<Letter>;
    expect(run(thrice, 'a0 a1 b2 a3 b4').found).toEqual(['a0 a1 a3 b4@4']);
  });

  test('is greedy: an event that fits it and the next is its own while there is room', () => {
    const any = { name: 'any', where: () => true, times: { min: 1, max: 2 } };
    const greedy = { ...AB, steps: [any, B], afterMatch: 'skip past last' } satisfies Pattern<Letter>;
    expect(run(greedy, 'a0 b1 b2').found).toEqual(['a0 b1 b2@2']);
  });

  test('is left for the next step from its least number on', () => {
    const some = {
      ...AB,
      steps: [{ ...A, times: { min: 2 } }, B],
      afterMatch: 'skip past last',
    } satisfies Pattern<Letter>;
    expect(run(some, 'a0 b1 a2 a3 b4').found).toEqual(['a0 a2 a3 b4@4']);
  });
});

describe('an absence', () => {
  const quiet: Pattern<Letter> = { name: 'quiet', steps: [A, { name: 'no b', absent: is('b'), for: 5n }], within: 10n };

  test('is fulfilled by time alone, at the end of its time', () => {
    expect(run(quiet, 'a1 .5').found).toEqual([]);
    expect(run(quiet, 'a1 .6').found).toEqual(['a1@6']);
    expect(run(quiet, 'a1 c9').found).toEqual(['a1@6']);
  });

  test('is broken by the event before its end, and not by one at its end', () => {
    expect(run(quiet, 'a1 b5 .20').found).toEqual([]);
    expect(run(quiet, 'a1 b6').found).toEqual(['a1@6']);
  });

  test('in the middle is over before the next step begins', () => {
    const then = { ...quiet, steps: [...quiet.steps, C] };
    expect(run(then, 'a0 c4 c6').found).toEqual(['a0 c6@6']);
    expect(run(then, 'a0 b4 c6').found).toEqual([]);
  });

  test('of two in a row begins when the first one ends', () => {
    const two = { ...quiet, steps: [...quiet.steps, { name: 'no c', absent: is('c'), for: 3n }] };
    expect(run(two, 'a0 c4 .8').found).toEqual(['a0@8']);
    expect(run(two, 'a0 c5 .8').found).toEqual([]);
    expect(run(two, 'a0 .100').found).toEqual(['a0@8']);
  });

  test('without a time lasts until the next step takes its event', () => {
    const guarded = { ...AB, steps: [A, { name: 'no c', absent: is('c') }, B] };
    expect(run(guarded, 'a0 b1').found).toEqual(['a0 b1@1']);
    expect(run(guarded, 'a0 c1 b2').found).toEqual([]);
  });

  test('without a time guards a step that repeats, too, from its least number on', () => {
    const guarded = { ...AB, steps: [{ ...A, times: { min: 2 } }, { name: 'no c', absent: is('c') }, B] };
    expect(run(guarded, 'a0 c1 a2 b3').found).toEqual(['a0 a2 b3@3']);
    expect(run(guarded, 'a0 a1 c2 b3').found).toEqual([]);
  });
});

describe('after a match', () => {
  const pairs: Pattern<Letter> = { name: 'pairs', steps: [{ ...A, times: 2 }, B], within: 20n };

  test('all other attempts go on', () => {
    expect(run(pairs, 'a0 a1 a2 b3').found).toEqual(['a0 a1 b3@3', 'a1 a2 b3@3']);
  });

  test('those up to its last event are given up, if it skips past its last', () => {
    expect(run({ ...pairs, afterMatch: 'skip past last' }, 'a0 a1 a2 b3 a4 a5 b6').found).toEqual([
      'a0 a1 b3@3',
      'a4 a5 b6@6',
    ]);
  });

  test('one that began before and still waits is given up, too, if it skips past its last', () => {
    const rising: Pattern<Letter> = {
      name: 'rising',
      steps: [
        { name: 'low', where: () => true },
        { name: 'high', where: ({ value }, matched) => value.n > (matched('low')[0]?.value.n ?? 0) },
      ],
      within: 20n,
    };
    expect(run(rising, 'a0:5 b1:3 c2:4 d3:9').found).toEqual(['b1 c2@2', 'a0 d3@3', 'c2 d3@3']);
    expect(run({ ...rising, afterMatch: 'skip past last' }, 'a0:5 b1:3 c2:4 d3:9').found).toEqual(['b1 c2@2']);
  });

  test('those before the first event of a step are given up, if it skips to that', () => {
    const skipping = {
      ...pairs,
      steps: [A, { name: 'again', where: is('a') }, B],
      afterMatch: { skipTo: 'again' },
    } satisfies Pattern<Letter>;
    expect(run(skipping, 'a0 a1 a2 b3').found).toEqual(['a0 a1 b3@3', 'a1 a2 b3@3']);
    expect(run({ ...skipping, afterMatch: { skipTo: 'b' } }, 'a0 a1 a2 b3').found).toEqual(['a0 a1 b3@3']);
  });
});

describe('the state of a pattern', () => {
  test('says when time alone would change it', () => {
    expect(patternDeadline(AB, startPattern())).toBeUndefined();
    expect(patternDeadline(AB, run(AB, 'a3 a5').state)).toBe(14n);
  });

  test('refuses an event behind its time as late, and nothing changes', () => {
    const { found, state } = run(AB, 'a5 .7 b6');
    expect(found).toEqual(['late b6']);
    expect(run(AB, 'a5 .7').state).toEqual(state);
  });

  test('goes through Avro and back without a difference', () => {
    const letter = {
      type: 'record',
      name: 'Letter',
      fields: [
        { name: 'letter', type: 'string' },
        { name: 'n', type: 'int' },
      ],
    };
    const type = avroType(patternStateSchema('test', letter));
    const { state } = run(AB, 'a0:7 a1');
    expect(JSON.stringify(type.fromBuffer(type.toBuffer(state)), stringified)).toBe(JSON.stringify(state, stringified));
  });
});

function stringified(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}

describe('a pattern is refused', () => {
  test.each<[string, Partial<Pattern<Letter>>]>([
    ['it has no steps', { steps: [] }],
    ['nothing begins with an absence', { steps: [{ name: 'x', absent: is('a'), for: 1n }] }],
    ['two steps have the same name', { steps: [A, A] }],
    ['within has to be greater than 0', { within: 0n }],
    ['has to take 1 event or more', { steps: [{ ...A, times: 0 }] }],
    ['has to take 1 event or more', { steps: [{ ...A, times: { min: 3, max: 2 } }, B] }],
    ['nothing says when step a has taken its last event', { steps: [{ ...A, times: { min: 1 } }] }],
    [
      'nothing says when step a has taken its last event',
      {
        steps: [
          { ...A, times: { min: 1 } },
          { name: 'x', absent: is('b'), for: 1n },
        ],
      },
    ],
    ['and there is none', { steps: [A, { name: 'x', absent: is('b') }] }],
    ['no longer than within', { steps: [A, { name: 'x', absent: is('b'), for: 11n }] }],
    ['no step that takes events is called z', { afterMatch: { skipTo: 'z' } }],
  ])('%s', (message, change) => {
    expect(() => definePattern({ ...AB, ...change })).toThrow(message);
  });
});
