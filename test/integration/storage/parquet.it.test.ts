/** The archive against a real object store. */
import { createHash } from 'node:crypto';
import { type AddressInfo, connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { putLarge } from '../../../core/archive/s3/multipart.ts';
import { putOnce } from '../../../core/archive/s3/put-once.ts';
import { type S3Options, S3Store } from '../../../core/archive/s3/s3.ts';
import { Harness, trade } from '../../../sinks/parquet/fixtures/harness.ts';
import { testSink } from '../../../sinks/parquet/fixtures/sink-contract.ts';
import { testStore } from '../../contracts/store-contract.ts';
import { testConfig } from '../../support/stack.ts';

const bucket = `test-${process.pid}-${Date.now()}`;
const s3: S3Options = { ...testConfig().s3, bucket };

testStore('MinIO', async () => new S3Store(s3));
testSink('MinIO', async () => new S3Store({ ...s3, bucket: `${bucket}-sink` }));

describe('an object store that refuses', () => {
  test('a wrong password is S3_DENIED at once, and the remedy names the setting', async () => {
    const retries: Error[] = [];
    await using store = new S3Store({ ...s3, secretAccessKey: 'wrong-wrong', onRetry: (error) => retries.push(error) });
    const error = await store.putIfAbsent('k', Buffer.from('x')).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'S3_DENIED', disposition: 'stop' });
    expect((error as { remedy: string }).remedy).toContain('MILLRACE_S3_SECRET_ACCESS_KEY');
    expect((error as Error).message).not.toContain('wrong-wrong');
    expect(retries).toEqual([]);
  });

  test('a wrong password is S3_DENIED at the first start, and where the answer has no body', async () => {
    await using store = new S3Store({ ...s3, secretAccessKey: 'wrong-wrong' });
    await expect(store.ensureBucket()).rejects.toMatchObject({
      code: 'S3_DENIED',
      remedy: expect.stringContaining('MILLRACE_S3_SECRET_ACCESS_KEY'),
    });
    await expect(store.head('k')).rejects.toMatchObject({ code: 'S3_DENIED' });
  });

  test('an unknown access key is S3_DENIED', async () => {
    await using store = new S3Store({ ...s3, accessKeyId: 'nobody' });
    await expect(store.get('k')).rejects.toMatchObject({ code: 'S3_DENIED' });
  });

  test('a missing bucket is S3_BUCKET_MISSING', async () => {
    await using store = new S3Store({ ...s3, bucket: `${bucket}-none` });
    await expect(store.putIfAbsent('k', Buffer.from('x'))).rejects.toMatchObject({ code: 'S3_BUCKET_MISSING' });
  });

  test('a sink with a wrong password stops, and lists nothing', async () => {
    await using store = new S3Store({ ...s3, secretAccessKey: 'wrong-wrong' });
    const harness = await Harness.open({ store });
    harness.send('cdc.public.trades', trade());
    await expect(harness.run('cdc.public.trades')).rejects.toMatchObject({ code: 'S3_DENIED' });
    expect(await harness.listed('cdc.public.trades')).toEqual([]);
  });
});

describe('an upload whose answer is lost', () => {
  let proxy: LossyProxy;

  beforeAll(async () => {
    proxy = await LossyProxy.start(new URL(s3.endpoint));
  });

  afterAll(() => proxy[Symbol.asyncDispose]());

  test('is tried again, met by what it stored itself, and accepted', async () => {
    await using direct = new S3Store(s3);
    await direct.ensureBucket();
    const retries: Error[] = [];
    await using store = new S3Store({
      ...s3,
      endpoint: proxy.url,
      // Longer than a right answer takes on a busy machine: the lost one is waited for once.
      timeoutMs: 4_000,
      firstRetryMs: 10,
      onRetry: (error) => retries.push(error),
    });
    const bytes = Buffer.alloc(100_000, 7);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    proxy.loseAnswers = 1;
    const kept = await putOnce(store, { key: 'lost/answer', bytes, sha256, content: {}, build: '1' });
    expect(kept).toEqual({ sha256, bytes: bytes.length, created: false });
    expect(retries).toHaveLength(1);
    expect((await direct.get('lost/answer'))?.bytes.equals(bytes)).toBe(true);
  });
});

describe('a large object', () => {
  const large = Buffer.alloc(11 * 1024 * 1024, 'large');
  const client = new S3Client({
    endpoint: s3.endpoint,
    region: s3.region,
    credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
    forcePathStyle: true,
  });
  const begun = async (Prefix: string) =>
    (await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix }))).Uploads ?? [];
  const begin = async (Key: string) => {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key }));
    await client.send(new UploadPartCommand({ Bucket: bucket, Key, UploadId, PartNumber: 1, Body: 'part' }));
  };

  afterAll(() => client.destroy());

  test.each(['created', 'exists'] as const)('that is there (%s) leaves no parts of a crash behind', async (outcome) => {
    await using store = new S3Store(s3);
    await store.ensureBucket();
    const key = `large/${outcome}`;
    if (outcome === 'exists') await store.putIfAbsent(key, large);
    await begin(key);
    expect(await begun(key)).toHaveLength(1);
    expect(await store.putIfAbsent(key, large)).toBe(outcome);
    expect(await begun(key)).toEqual([]);
  });

  test('whose completion had no answer is found by the second try, and accepted', async () => {
    await using store = new S3Store(s3);
    await store.ensureBucket();
    const object = { bucket, key: 'large/lost', bytes: large, metadata: undefined, partSize: 5 * 1024 * 1024 };
    const outcome = await putLarge(client, object, async (what, send) => {
      const { signal } = new AbortController();
      if (what.startsWith('completing')) await send(signal);
      return send(signal);
    });
    expect(outcome).toBe('exists');
    expect((await store.get('large/lost'))?.bytes.equals(large)).toBe(true);
    expect(await begun('large/lost')).toEqual([]);
  });

  test('that fails on the way leaves no parts behind, and nothing to be seen', async () => {
    await using store = new S3Store(s3);
    await store.ensureBucket();
    const object = { bucket, key: 'large/failed', bytes: large, metadata: undefined, partSize: 5 * 1024 * 1024 };
    const failed = putLarge(client, object, async (what, send) => {
      if (what.startsWith('storing part 3')) throw new Error('the disk is full');
      return send(new AbortController().signal);
    });
    await expect(failed).rejects.toThrow('the disk is full');
    expect(await begun('large/failed')).toEqual([]);
    expect(await store.head('large/failed')).toBeUndefined();
  });
});

/** Passes bytes on to a server, and sometimes swallows all that the server answers. */
class LossyProxy implements AsyncDisposable {
  /** Connections from now on whose answers are lost. */
  loseAnswers = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: URL) {
    this.#server = createServer((client) => {
      const lose = this.loseAnswers > 0;
      if (lose) this.loseAnswers--;
      const server = connectSocket(Number(target.port), target.hostname);
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
      }
      client.pipe(server);
      if (!lose) server.pipe(client);
      else server.resume();
    });
  }

  static async start(target: URL): Promise<LossyProxy> {
    const proxy = new LossyProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
