import { expect, test } from '@jest/globals';
import { dispositionOf, MillraceError } from './errors.ts';

test('an error carries the disposition of its code, and its cause', () => {
  const cause = new Error('socket closed');
  const error = new MillraceError('KAFKA_UNREACHABLE', 'no broker answers', { cause, remedy: 'start the stack' });
  expect(error).toMatchObject({ disposition: 'retry', cause, remedy: 'start the stack' });
});

test('an error that nobody classified stops', () => {
  expect(dispositionOf(new TypeError('x'))).toBe('stop');
});
