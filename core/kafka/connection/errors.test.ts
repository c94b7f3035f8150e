import { createRequire } from 'node:module';
import { expect, test } from '@jest/globals';
import { toMillraceError } from './errors.ts';
import { createErrorFromCode } from './internals.ts';

test.each([
  [29, 'TOPIC_AUTHORIZATION_FAILED', 'KAFKA_FORBIDDEN'],
  [30, 'GROUP_AUTHORIZATION_FAILED', 'KAFKA_FORBIDDEN'],
  [31, 'CLUSTER_AUTHORIZATION_FAILED', 'KAFKA_FORBIDDEN'],
  [53, 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED', 'KAFKA_FORBIDDEN'],
  [58, 'SASL_AUTHENTICATION_FAILED', 'KAFKA_FORBIDDEN'],
  [35, 'UNSUPPORTED_VERSION', 'KAFKA_REFUSED'],
  [87, 'INVALID_RECORD', 'KAFKA_REFUSED'],
  [10, 'MESSAGE_TOO_LARGE', 'RECORD_TOO_LARGE'],
  [3, 'UNKNOWN_TOPIC_OR_PARTITION', 'TOPIC_MISSING'],
])('error %i (%s) stops with %s and names what was done', (code, type, expected) => {
  const error = createErrorFromCode(code);
  expect(error.type).toBe(type);
  expect(toMillraceError(error, 'writing to t')).toMatchObject({
    code: expected,
    disposition: 'stop',
    message: expect.stringContaining('writing to t'),
    remedy: expect.any(String),
  });
});

test.each([6, 15, 20, 56, 48])('error %i is retried', (code) => {
  expect(toMillraceError(createErrorFromCode(code), 'writing').disposition).toBe('retry');
});

test('a programming error of ours stops; one that kafkajs throws when a connection ends is retried', () => {
  const ours = new TypeError("Cannot read properties of undefined (reading 'x')");
  expect(toMillraceError(ours, 'fetching')).toMatchObject({ code: 'DEFECT', disposition: 'stop' });
  const theirs = new TypeError("Cannot read properties of undefined (reading 'send')");
  const [head, ...frames] = (theirs.stack ?? '').split('\n');
  const library = createRequire(import.meta.url).resolve('kafkajs/src/broker');
  theirs.stack = [head, `    at Broker.send (${library}:12:3)`, ...frames].join('\n');
  expect(toMillraceError(theirs, 'fetching')).toMatchObject({ code: 'KAFKA_UNREACHABLE', disposition: 'retry' });
});

test('what kafkajs gave up repeating is told by its cause', () => {
  const error = Object.assign(new Error('retries exceeded', { cause: createErrorFromCode(29) }), {
    name: 'KafkaJSError',
  });
  expect(toMillraceError(error, 'joining').code).toBe('KAFKA_FORBIDDEN');
});
