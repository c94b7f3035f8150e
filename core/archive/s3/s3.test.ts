import { describe, expect, test } from '@jest/globals';
import { testStore } from '../../../test/contracts/store-contract.ts';
import { toS3Error } from './errors.ts';
import { MemoryStore } from './memory.ts';
import { S3Store } from './s3.ts';

testStore('in memory', async () => new MemoryStore());

const place = { endpoint: 'http://127.0.0.1:9', bucket: 'b', accessKeyId: 'me' };

function answer(name: string, httpStatusCode?: number): Error {
  return Object.assign(new Error(name), { name, $metadata: { httpStatusCode } });
}

describe('an S3 error', () => {
  test.each([
    ['SignatureDoesNotMatch', 403, 'S3_DENIED', 'secretAccessKey'],
    ['InvalidAccessKeyId', 403, 'S3_DENIED', 'accessKeyId'],
    ['RequestTimeTooSkewed', 403, 'S3_DENIED', 'clock'],
    ['AuthorizationHeaderMalformed', 400, 'S3_DENIED', 'region'],
    ['AccessDenied', 403, 'S3_DENIED', 'may read'],
    ['NoSuchBucket', 404, 'S3_BUCKET_MISSING', 'bucket'],
    ['SlowDown', 503, 'S3_UNREACHABLE', 'endpoint'],
    ['TooManyRequests', 429, 'S3_UNREACHABLE', 'endpoint'],
    ['ConditionalRequestConflict', 409, 'S3_UNREACHABLE', 'endpoint'],
    ['InternalError', 500, 'S3_UNREACHABLE', 'endpoint'],
    ['ECONNREFUSED', undefined, 'S3_UNREACHABLE', 'endpoint'],
  ])('%s (%s) is %s, and the remedy names the %s', (name, status, code, remedy) => {
    const error = toS3Error(answer(name, status), 'storing x', place);
    expect(error.code).toBe(code);
    expect(error.remedy).toContain(remedy);
    expect(error.message).toMatch(/^storing x: /);
  });
});

describe('a store that nobody answers for', () => {
  test('is tried again, then S3_UNREACHABLE; its password is nowhere in the error', async () => {
    const retries: Error[] = [];
    await using store = new S3Store({
      ...place,
      region: 'us-east-1',
      secretAccessKey: 'top-secret',
      attempts: 3,
      firstRetryMs: 1,
      onRetry: (error) => retries.push(error),
    });
    const error = await store.putIfAbsent('k', Buffer.from('x')).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'S3_UNREACHABLE', disposition: 'retry' });
    expect(`${(error as Error).message}${(error as Error).stack}`).not.toContain('top-secret');
    expect(retries).toHaveLength(2);
  });

  test('stops waiting when it is told to', async () => {
    await using store = new S3Store({ ...place, region: 'us-east-1', secretAccessKey: 's', firstRetryMs: 60_000 });
    const stop = new AbortController();
    const failed = expect(store.get('k', stop.signal)).rejects.toThrow();
    setTimeout(() => stop.abort(new Error('stop')), 50);
    await failed;
  });
});
