/** The archive against a real object store. */
import { createHash } from 'node:crypto';
import { type AddressInfo, connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { putOnce } from '../../core/s3/put-once.ts';
import { type S3Options, S3Store } from '../../core/s3/s3.ts';
import { testStore } from '../../core/testing/store-contract.ts';
import { Harness, trade } from '../../sinks/parquet/fixtures/harness.ts';
import { testConfig } from '../stack.ts';

const bucket = `test-${process.pid}-${Date.now()}`;
const s3: S3Options = { ...testConfig().s3, bucket };

testStore('MinIO', async () => new S3Store(s3));

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
      timeoutMs: 1_000,
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

describe('the Parquet sink over a real object store', () => {
  test('stores exactly the objects it lists, with their hashes', async () => {
    await using store = new S3Store(s3);
    await store.ensureBucket();
    const harness = await Harness.open({ store, settings: { flushRows: 10, prefix: '/archive/it' } });
    for (let i = 0; i < 25; i++) harness.send('cdc.public.trades', trade({ trade_id: `${i}` }));
    await harness.run('cdc.public.trades');
    const listed = await harness.listed('cdc.public.trades');
    expect(listed.map(({ rows }) => rows)).toEqual([10n, 10n, 5n]);
    const stored: string[] = [];
    for await (const { key } of store.list('archive/it/')) stored.push(key);
    expect(stored).toEqual(listed.map(({ key }) => key));
    for (const { key, sha256 } of listed) {
      const object = await store.get(key);
      expect(
        createHash('sha256')
          .update(object?.bytes ?? '')
          .digest('hex'),
      ).toBe(sha256);
    }
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
