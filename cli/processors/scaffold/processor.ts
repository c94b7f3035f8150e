/** Files that `millrace new processor` writes: a working processor with a passing test, as a starting point. */
import { MillraceError } from '../../../core/base/errors.ts';

export interface ScaffoldOptions {
  /** Lower-case letters, digits and dashes. */
  readonly name: string;
  /** The test runner: jest inside this repository, Node's own elsewhere. */
  readonly runner: 'jest' | 'node';
}

/** File contents by name. @throws MillraceError CONFIG_INVALID: the name is not allowed. */
export function scaffoldProcessor({ name, runner }: ScaffoldOptions): ReadonlyMap<string, string> {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) || name.length > 40) {
    throw new MillraceError('CONFIG_INVALID', `${JSON.stringify(name)} cannot be a processor's name`, {
      remedy: 'use lower-case letters, digits and single dashes, beginning with a letter',
    });
  }
  const camel = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
  const pascal = `${camel.charAt(0).toUpperCase()}${camel.slice(1)}`;
  const filled = (template: string): string =>
    template
      .replaceAll('__name__', name)
      .replaceAll('__camel__', camel)
      .replaceAll('__Pascal__', pascal)
      .replaceAll('__runner__', runner === 'jest' ? '@jest/globals' : 'node:test')
      .trimStart();
  return new Map([
    [`${name}.avsc`, filled(schema)],
    [`${name}.ts`, filled(declaration)],
    ['fold.ts', filled(fold)],
    [`${name}.test.ts`, filled(test)],
  ]);
}

const schema = `
{
  "type": "record",
  "name": "__Pascal__",
  "namespace": "millrace.user",
  "doc": "The output of __name__ for each symbol.",
  "fields": [
    { "name": "venue", "type": "string", "doc": "The venue of the trades." },
    { "name": "symbol", "type": "string", "doc": "The traded instrument." },
    { "name": "trades", "type": "long", "doc": "Trades so far." }
  ]
}
`;

const declaration = `
import { readFileSync } from 'node:fs';
import { defineProcessor, type SchemaTypes, schemas } from 'millrace';
import { fold } from './fold.ts';

const value = JSON.parse(readFileSync(new URL('./__name__.avsc', import.meta.url), 'utf8')) as object;
const key = {
  type: 'record',
  name: '__Pascal__Key',
  namespace: 'millrace.user',
  fields: [
    { name: 'venue', type: 'string' },
    { name: 'symbol', type: 'string' },
  ],
};

/** Counts the trades of each symbol, at every closed candle of one minute. A symbol without a candle for a day starts at zero again. */
export const __camel__ = defineProcessor<SchemaTypes['candle']>({
  name: '__name__',
  // Increase it when equal input would give a different output.
  version: '1',
  inputs: [{ topic: 'market.candles', schema: schemas.candle, kind: 'derived' }],
  outputs: [{ topic: 'market.__name__', keySchema: key, valueSchema: value }],
  stores: [{ name: 'trades', schema: { type: 'long' } }],
  // One for each symbol, kept with the state.
  timers: 'stored',
  // An error of the fold stops the process. 'deadLetter' puts the record aside instead, without a trace of it in state and outputs.
  onError: 'stop',
  create: fold,
});
`;

const fold = `
import type { Context, Fold, SchemaTypes } from 'millrace';

type Candle = SchemaTypes['candle'];

/** Log time, microseconds. */
const day = 86_400_000_000n;

/**
 * What a candle means: pure and synchronous. No clock, no randomness, no I/O: the same records in the same order give the same outputs, in
 * production, in a test and in a replay. What must survive a restart is in a store.
 */
export function fold(context: Context<Candle>): Fold<Candle> {
  const trades = context.store<bigint>('trades');
  return {
    record({ value: { venue, symbol, interval, status, trade_count }, logTime }) {
      if (interval !== '1m' || status !== 'CLOSED') return;
      const id = JSON.stringify([venue, symbol]);
      const sum = (trades.get(id) ?? 0n) + trade_count;
      trades.set(id, sum);
      // In place of the timer that the symbol has.
      context.timers.set(id, logTime + day);
      context.emit('market.__name__', { venue, symbol }, { venue, symbol, trades: sum });
    },
    onTimer(id) {
      trades.delete(id);
    },
  };
}
`;

const test = `
import assert from 'node:assert/strict';
import { test } from '__runner__';
import type { SchemaTypes } from 'millrace';
import { Driver } from 'millrace/testing';
import { __camel__ } from './__name__.ts';

type Candle = SchemaTypes['candle'];

const candle: Candle = {
  venue: 'bitstamp',
  symbol: 'BTC/USD',
  interval: '1m',
  window_start: 0n,
  window_end: 60_000_000n,
  open: 1n,
  high: 1n,
  low: 1n,
  close: 1n,
  vwap: 1n,
  volume: 1n,
  notional: 1n,
  trade_count: 3n,
  first_trade_id: 'a',
  last_trade_id: 'c',
  open_time: 0n,
  high_time: 0n,
  low_time: 0n,
  close_time: 0n,
  status: 'CLOSED',
  revision: 1,
  reason: 'WATERMARK',
  provenance: null,
};

async function published(driver: Driver<Candle>): Promise<(bigint | undefined)[]> {
  const records = await driver.outputs<object, { trades: bigint }>('market.__name__');
  return records.map(({ value }) => value?.trades);
}

test('closed candles of one minute are counted, others are not', async () => {
  await using driver = await Driver.open(__camel__);
  driver.send(candle);
  driver.send({ ...candle, status: 'PARTIAL' });
  driver.send({ ...candle, interval: '5m' });
  await driver.run();
  assert.deepEqual(await published(driver), [3n]);
});

test('a crash between two records loses nothing and repeats nothing', async () => {
  await using driver = await Driver.open(__camel__, { commitRecords: 1 });
  driver.send(candle);
  await driver.run();
  driver.crash();
  driver.send({ ...candle, trade_count: 4n });
  await driver.run();
  assert.deepEqual(await published(driver), [3n, 7n]);
});

test('a symbol without candles for a day of log time begins anew', async () => {
  await using driver = await Driver.open(__camel__);
  // Milliseconds; a heartbeat's log time is in microseconds.
  const day = 86_400_000n;
  driver.send(candle, { timestamp: 0n });
  driver.send(candle, { timestamp: day - 1n });
  await driver.beat(day * 1_000n);
  driver.send(candle, { timestamp: day });
  await driver.beat(2n * day * 1_000n);
  driver.send(candle, { timestamp: 2n * day });
  await driver.run();
  assert.deepEqual(await published(driver), [3n, 6n, 9n, 3n]);
});
`;
