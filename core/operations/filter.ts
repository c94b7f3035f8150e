import { MillraceError } from '../base/errors.ts';
import { parseTimeOrDay } from '../values/time.ts';
import type { Letter } from './letters.ts';

export type LetterFilter = (letter: Letter) => boolean;

const makers: Readonly<Record<string, (text: string) => LetterFilter>> = {
  reason: (text) => (letter) => letter.reason === text,
  error: (text) => (letter) => letter.error.includes(text),
  topic: (text) => (letter) => letter.origin.topic === text,
  partition: (text) => {
    const wanted = Number(whole(text, 'partition'));
    return (letter) => letter.origin.partition === wanted;
  },
  offset: (text) => {
    const [first = '', last = first] = text.split('..', 2);
    const [low, high] = [whole(first, 'offset'), whole(last, 'offset')];
    return ({ origin }) => origin.offset >= low && origin.offset <= high;
  },
  since: (text) => {
    const from = instant(text);
    return ({ origin }) => origin.timestamp * 1000n >= from;
  },
  until: (text) => {
    const to = instant(text);
    return ({ origin }) => origin.timestamp * 1000n < to;
  },
  letter: (text) => {
    const wanted = new Set(text.split(','));
    return ({ partition, offset }) => wanted.has(`${partition}/${offset}`);
  },
};

export const filterHelp =
  'reason=CODE, error=TEXT (part of the message), topic=, partition=, offset=N or N..M (of the origin, both inclusive), since=TIME, until=TIME ' +
  "(the refused record's timestamp), letter=PARTITION/OFFSET[,…]";

/** Letters that meet all conditions; several conditions of one kind all have to hold. @throws MillraceError CONFIG_INVALID */
export function parseFilter(conditions: readonly string[]): LetterFilter {
  const tests = conditions.map((condition) => {
    const at = condition.indexOf('=');
    const make = at < 0 ? undefined : makers[condition.slice(0, at)];
    if (make === undefined) throw invalid(`${JSON.stringify(condition)} is no condition on dead letters`);
    return make(condition.slice(at + 1));
  });
  return (letter) => tests.every((test) => test(letter));
}

function whole(text: string, what: string): bigint {
  if (!/^\d{1,18}$/.test(text)) throw invalid(`${what}=${text}: not a whole number`);
  return BigInt(text);
}

function instant(text: string): bigint {
  try {
    return parseTimeOrDay(text);
  } catch (cause) {
    throw invalid(`${JSON.stringify(text)} is no time`, cause);
  }
}

function invalid(message: string, cause?: unknown): MillraceError {
  return new MillraceError('CONFIG_INVALID', message, { cause, remedy: `a condition is one of: ${filterHelp}` });
}
