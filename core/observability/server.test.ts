import { expect, test } from '@jest/globals';
import { RunningStates } from '../state/shown/running.ts';
import { Stores } from '../state/stores/stores.ts';
import { Metrics } from './metrics.ts';
import { type ObservabilityOptions, openObservability } from './server.ts';

function open(options: Partial<ObservabilityOptions> = {}) {
  return openObservability({ registry: new Metrics({ node: false }).registry, ...options });
}

test('it listens on loopback only, on a free port when asked for port 0', async () => {
  await using server = await open();
  expect(server.host).toBe('127.0.0.1');
  expect(server.port).toBeGreaterThan(0);
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
});

test('/ready names each dependency on its own, with the reason why it is not ready', async () => {
  await using server = await open({
    checks: {
      kafka: () => undefined,
      registry: () => Promise.reject(new Error('connect ECONNREFUSED http://u:pw@h/')),
      tasks: () => false,
      s3: () => new Promise(() => {}),
    },
    checkTimeoutMs: 50,
  });
  const response = await fetch(`${server.url}/ready`);
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({
    status: 'not ready',
    checks: {
      kafka: { ok: true },
      registry: { ok: false, error: 'connect ECONNREFUSED http://u:***@h/' },
      tasks: { ok: false, error: 'not ready' },
      s3: { ok: false, error: 'no answer in 50 ms' },
    },
  });
});

test('/ready is 200 when every check passes; /health is 503 when the process cannot work any more', async () => {
  let alive = true;
  await using server = await open({ checks: { kafka: async () => {} }, healthy: () => alive });
  expect((await fetch(`${server.url}/ready`)).status).toBe(200);
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
  alive = false;
  expect((await fetch(`${server.url}/health`)).status).toBe(503);
});

test('/metrics is Prometheus text; unknown paths are 404, other methods 405', async () => {
  const metrics = new Metrics({ node: false });
  metrics.task({ name: 'ohlcv', topic: 't', partition: 0 }).processed(3);
  await using server = await open({ registry: metrics.registry });
  const response = await fetch(`${server.url}/metrics?x=1`);
  expect(response.headers.get('content-type')).toContain('version=0.0.4');
  expect(await response.text()).toContain('millrace_records_processed_total{name="ohlcv",topic="t",partition="0"} 3');
  expect((await fetch(`${server.url}/nothing`)).status).toBe(404);
  expect((await fetch(`${server.url}/metrics`, { method: 'POST' })).status).toBe(405);
});

test('a taken port is an error with code and remedy', async () => {
  await using first = await open();
  await expect(open({ port: first.port })).rejects.toMatchObject({ code: 'PORT_TAKEN', remedy: expect.any(String) });
});

test('closing twice is harmless, does not wait for open requests, and frees the port', async () => {
  const server = await open({ checks: { never: () => new Promise(() => {}) }, checkTimeoutMs: 60_000 });
  const pending = fetch(`${server.url}/ready`).catch((error: unknown) => error);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await Promise.all([server[Symbol.asyncDispose](), server[Symbol.asyncDispose]()]);
  await pending;
  await using again = await open({ port: server.port });
  expect(again.port).toBe(server.port);
});

test('/state shows what the tasks of this process hold, decimals with their point, and what is not committed yet', async () => {
  const price = { type: 'bytes', logicalType: 'decimal', precision: 38, scale: 2 };
  const stores = new Stores([{ name: 'prices', schema: price }]);
  const prices = stores.store<bigint>('prices');
  for (const key of ['b/1', 'a', 'c']) prices.set(key, 1_050n);
  stores.takeChanges();
  prices.set('c', 7n);
  const states = new RunningStates();
  const remove = states.add({ processor: 'ohlcv', partition: 3, stores });
  await using server = await open({ states });
  const get = async (path: string) => {
    const response = await fetch(`${server.url}${path}`);
    return [response.status, await response.json()];
  };
  expect(await get('/state')).toEqual([200, { processors: ['ohlcv'] }]);
  const held = [{ partition: 3, store: 'prices', entries: 3 }];
  expect(await get('/state/ohlcv')).toEqual([200, { processor: 'ohlcv', stores: held }]);
  const b = { partition: 3, key: 'b/1', value: '10.50', pending: false };
  const one = { processor: 'ohlcv', store: 'prices', entries: [b] };
  expect(await get('/state/ohlcv/prices/b%2F1')).toEqual([200, one]);
  expect(await get('/state/ohlcv/prices/b/1')).toEqual([200, one]);
  const c = { partition: 3, key: 'c', value: '0.07', pending: true };
  expect(await get('/state/ohlcv/prices?after=a&limit=2')).toEqual([200, { ...one, entries: [b, c] }]);
  expect(await get('/state/ohlcv/prices?limit=1')).toMatchObject([200, { entries: [{ key: 'a' }] }]);
  for (const path of ['/state/anomaly', '/state/ohlcv/windows', '/state/ohlcv/prices/z']) {
    expect(await get(path)).toMatchObject([404, { status: 'error' }]);
  }
  for (const path of ['/state/ohlcv/prices?limit=0', '/state/ohlcv/prices?limit=x', '/state/%zz']) {
    expect(await get(path)).toMatchObject([400, { status: 'error' }]);
  }
  remove();
  expect(await get('/state')).toEqual([200, { processors: [] }]);
});
