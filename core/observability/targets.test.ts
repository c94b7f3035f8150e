import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { announceTarget } from './targets.ts';

let dir: string;
const alive = new Set<string>();
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-targets-'));
  alive.clear();
});
afterEach(() => rm(dir, { recursive: true }));

function announce(work: string, port: number, owner: string) {
  alive.add(owner);
  const isAlive = async (each: string) => alive.has(each);
  return announceTarget({ dir: join(dir, 'targets'), work, address: `127.0.0.1:${port}`, owner, isAlive });
}
const targets = async () => (await readdir(join(dir, 'targets'))).filter((file) => file.endsWith('.json')).sort();

test('a process is a target of Prometheus for as long as it lives', async () => {
  const target = await announce('run/ohlcv 1', 9464, 'a');
  expect(await targets()).toEqual(['run_ohlcv_1_9464.json']);
  const text = await readFile(join(dir, 'targets/run_ohlcv_1_9464.json'), 'utf8');
  expect(JSON.parse(text)).toEqual([{ targets: ['127.0.0.1:9464'], labels: {} }]);
  await target[Symbol.asyncDispose]();
  await target[Symbol.asyncDispose]();
  expect(await readdir(join(dir, 'targets'))).toEqual([]);
});

test('the successor of a killed process takes its place as a target, at another port, too', async () => {
  await announce('ohlcv', 21_001, 'killed');
  alive.delete('killed');
  expect(await targets()).toEqual(['ohlcv_21001.json']);
  await announce('ohlcv', 21_002, 'successor');
  expect(await targets()).toEqual(['ohlcv_21002.json']);
});

test('a killed process stays a target until a process of the same work comes; one successor replaces one', async () => {
  await announce('ohlcv', 21_001, 'one');
  await announce('ohlcv', 21_002, 'two');
  await announce('ohlcv', 21_003, 'living');
  for (const owner of ['one', 'two']) alive.delete(owner);
  await announce('parquet', 21_004, 'other work');
  expect(await targets()).toHaveLength(4);
  await announce('ohlcv', 21_005, 'first successor');
  expect(await targets()).toEqual(['ohlcv_21002.json', 'ohlcv_21003.json', 'ohlcv_21005.json', 'parquet_21004.json']);
  await announce('ohlcv', 21_002, 'second successor, at the same port');
  expect(await targets()).toEqual(['ohlcv_21002.json', 'ohlcv_21003.json', 'ohlcv_21005.json', 'parquet_21004.json']);
});
