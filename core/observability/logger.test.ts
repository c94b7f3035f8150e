import { expect, test } from '@jest/globals';
import { MillraceError } from '../base/errors.ts';
import { maskSecrets, maskText } from '../base/secrets.ts';
import { createLogger } from './logger.ts';

function capture(): { lines: string[]; destination: { write(line: string): void } } {
  const lines: string[] = [];
  return { lines, destination: { write: (line) => void lines.push(line) } };
}

test('a line is one JSON object with ISO time, level by name, bindings and fields', () => {
  const { lines, destination } = capture();
  createLogger({ destination, bindings: { command: 'run' } }).info({ offset: 9_007_199_254_740_993n }, 'committed');
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    command: 'run',
    offset: '9007199254740993',
    msg: 'committed',
  });
});

test('an error is written with its code, remedy, causes and stack, also when it is the only argument', () => {
  const { lines, destination } = capture();
  const logger = createLogger({ destination });
  const error = new MillraceError('KAFKA_UNREACHABLE', 'no broker answers', {
    cause: new Error('connect ECONNREFUSED'),
    remedy: 'start the stack',
  });
  logger.error({ err: error }, 'the task waits');
  logger.error(error);
  const [withText, alone] = lines.map((line) => JSON.parse(line));
  expect(withText.msg).toBe('the task waits');
  expect(alone.msg).toBe('no broker answers');
  for (const line of [withText, alone]) {
    expect(line.err).toMatchObject({
      code: 'KAFKA_UNREACHABLE',
      message: 'no broker answers',
      remedy: 'start the stack',
      cause: { message: 'connect ECONNREFUSED' },
      stack: expect.stringContaining('logger.test.ts'),
    });
  }
});

test('no secret reaches a line: not by key, not in a URL, not in the text, not in an error, not from a child', () => {
  const { lines, destination } = capture();
  const secret = 'hunter2-s3cr3t';
  const logger = createLogger({ destination, bindings: { s3: { secretAccessKey: secret } } });
  logger.info({ postgres: { url: `postgres://app:${secret}@127.0.0.1:5432/app` }, password: secret }, 'start');
  logger.info(`connecting to postgres://app:${secret}@127.0.0.1/app with password=${secret}`);
  logger.info('%s', `amqp://u:${secret}@h/`);
  logger.child({ token: secret }).warn(new Error(`login failed for postgres://app:${secret}@db/x`));
  logger.error({ err: Object.assign(new Error('x'), { config: { headers: { authorization: secret } } }) });
  expect(lines).toHaveLength(5);
  expect(lines.join('')).not.toContain(secret);
  expect(lines[0]).toContain('postgres://app:***@127.0.0.1:5432/app');
});

test('pretty mode writes one readable line per event', () => {
  const { lines, destination } = capture();
  createLogger({ destination, pretty: true, color: false }).warn({ partition: 3 }, 'paused');
  expect(lines.join('')).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] WARN: paused \{"partition":3\}\n$/);
});

test('masking copies: it never changes what it is given, and survives cycles, depth and buffers', () => {
  const value: Record<string, unknown> = { password: 'p', empty: { password: '' }, bytes: Buffer.alloc(100, 1) };
  value['self'] = value;
  expect(maskSecrets(value)).toMatchObject({
    password: '***',
    empty: { password: '' },
    self: '[circular]',
    bytes: expect.stringContaining('(100 bytes)'),
  });
  expect(value['password']).toBe('p');
  expect(maskText('http://127.0.0.1:8083/connectors')).toBe('http://127.0.0.1:8083/connectors');
});
