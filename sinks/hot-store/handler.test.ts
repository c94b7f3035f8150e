import { describe, expect, test } from '@jest/globals';
import type { TransactionFault } from '../../core/testing/memory-log.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import fc from '../../test/support/property.ts';
import { Harness } from './fixtures/harness.ts';
import type { StoreFault } from './fixtures/memory-store.ts';
import { anomaly, candle, emptied, features, minute, start } from './fixtures/values.ts';

const topic = 'market.candles';

describe('the table of a topic', () => {
  test('has the newest revision of each key, whatever order they come in', async () => {
    const harness = await Harness.open({ batchRows: 2 });
    for (const revision of [2, 5, 3, 4]) harness.send(topic, candle({ revision, trade_count: BigInt(revision) }));
    harness.send(topic, candle({ revision: 1, window_start: start + minute }));
    await harness.run(topic, 1);
    expect(harness.rows(topic, 'window_start', 'revision', 'trade_count')).toEqual([
      ['2013-11-25T23:59:00.000000Z', '5', '5'],
      ['2013-11-26T00:00:00.000000Z', '1', '9007199254740993'],
    ]);
    expect(await harness.committed(topic)).toBe(5n);
  });

  test('gets one row for each key of a batch', async () => {
    const harness = await Harness.open();
    for (const revision of [1, 2, 3]) harness.send(topic, candle({ revision }));
    await harness.run(topic);
    expect(harness.store.calls).toBe(1);
    expect(harness.rows(topic, 'revision')).toEqual([['3']]);
  });

  test('keeps a retracted anomaly with its status, and an emptied candle with nulls', async () => {
    const harness = await Harness.open();
    harness.send('market.anomalies', anomaly());
    harness.send('market.anomalies', anomaly({ status: 'RETRACTED', revision: 2 }));
    harness.send('market.anomalies', anomaly());
    harness.send(topic, candle());
    harness.send(topic, emptied({ revision: 2 }));
    await harness.run('market.anomalies', 1);
    await harness.run(topic, 1);
    expect(harness.rows('market.anomalies', 'status', 'revision')).toEqual([['RETRACTED', '2']]);
    expect(harness.rows(topic, 'status', 'open', 'volume', 'revision')).toEqual([['REVISED', null, '0.00000000', '2']]);
  });

  test('has exact text of every value', async () => {
    const harness = await Harness.open();
    harness.send(topic, candle());
    harness.send('market.features', features());
    await harness.run(topic);
    await harness.run('market.features');
    expect(harness.rows(topic, 'high', 'low', 'volume', 'notional', 'open_time', 'provenance_to_lsn')).toEqual([
      [
        '999999999999.99999999',
        '-0.00000001',
        '123456789012345678901234567890.12345678',
        '0.9007199254740993',
        '2013-11-25T23:59:00.000001Z',
        '4611686018427387905',
      ],
    ]);
    const [[windows, profile, revision] = []] = harness.rows('market.features', 'windows', 'profile', 'revision');
    expect(windows).toBe(
      '[{"length": "1m", "return": -0.0000000000000001, "volume": 123456789012.34567890, "buy_volume": 0.00000000, ' +
        '"sell_volume": 0.00000001, "start_price": null, "trade_count": 9007199254740993, "trade_imbalance": -1.00000000, ' +
        '"realised_variance": 0.9007199254740993, "realised_volatility": 0.00000001}]',
    );
    expect(profile).toBe('[{"volume": 0.00000003, "price_to": 0.00000002, "price_from": 0.00000001}]');
    expect(revision).toBe('1');
  });
});

describe('a record that is no row', () => {
  test.each<[string, Candle | Buffer | null, string]>([
    ['without a value', null, 'BAD_RECORD'],
    ['that is not Avro of ours', Buffer.from([7, 7]), 'BAD_MAGIC'],
    ['with a text that Postgres cannot hold', candle({ symbol: 'a\0b' }), 'BAD_RECORD'],
    ['of a year that has no day', candle({ window_start: 400_000_000_000_000_000n }), 'BAD_RECORD'],
  ])('%s is a dead letter, committed with the offset', async (_what, value, reason) => {
    const harness = await Harness.open();
    harness.send(topic, value);
    harness.send(topic, candle());
    await harness.run(topic);
    expect(await harness.dead()).toMatchObject([{ processor: 'hot-store', reason, origin: { topic, offset: 0n } }]);
    expect(harness.rows(topic, 'revision')).toEqual([['1']]);
    expect(await harness.committed(topic)).toBe(2n);
  });

  test('because the database refuses it is one as well, and its neighbours are stored', async () => {
    const harness = await Harness.open();
    harness.store.refuses.add('bitstamp\0BAD\x001m\x002013-11-25T23:59:00.000000Z\0');
    harness.send(topic, candle({ symbol: 'A' }));
    harness.send(topic, candle({ symbol: 'BAD' }));
    harness.send(topic, candle({ symbol: 'C' }));
    await harness.run(topic);
    expect(harness.rows(topic, 'symbol')).toEqual([['A'], ['C']]);
    expect(await harness.dead()).toMatchObject([{ reason: 'BAD_RECORD', origin: { offset: 1n } }]);
  });

  test('is counted once, also when its commit fails at first', async () => {
    const harness = await Harness.open();
    harness.send(topic, null);
    harness.fault(topic, 'abort');
    await harness.run(topic);
    expect(await harness.dead()).toHaveLength(1);
    const { values } = await harness.metrics.deadLetters.get();
    expect(values.filter(({ labels }) => labels.reason === 'BAD_RECORD').map(({ value }) => value)).toEqual([1]);
  });
});

describe('when it writes', () => {
  test('nothing is committed before the database has it', async () => {
    const harness = await Harness.open({ batchRows: 1 });
    harness.send(topic, candle());
    harness.store.fault('before', 'before');
    const upsert = harness.store.upsert.bind(harness.store);
    const seen: (bigint | undefined)[] = [];
    harness.store.upsert = async (...call) => {
      seen.push(await harness.committed(topic));
      return upsert(...call);
    };
    await harness.run(topic);
    expect(seen).toEqual([undefined, undefined, undefined]);
    expect(await harness.committed(topic)).toBe(1n);
  });

  test('a batch waits for its rows or its time', async () => {
    const harness = await Harness.open({ batchRows: 3, flushMs: 200 });
    const owner = await harness.own(topic);
    harness.send(topic, candle({ symbol: 'A' }));
    await owner.drain();
    expect(harness.store.calls).toBe(0);
    harness.clock.nowMs += 199;
    await owner.handler.tick(0);
    expect(harness.store.calls).toBe(0);
    harness.clock.nowMs += 1;
    await owner.handler.tick(0);
    expect(harness.store.calls).toBe(1);
    for (const symbol of ['B', 'C', 'D']) harness.send(topic, candle({ symbol }));
    await owner.drain();
    expect(harness.store.calls).toBe(2);
  });

  test('transaction markers at the end are committed, and cost the database nothing', async () => {
    const harness = await Harness.open();
    harness.log.appendMarker({ topic, partition: 0 });
    await harness.run(topic);
    expect([harness.store.calls, await harness.committed(topic)]).toEqual([0, 1n]);
  });
});

describe('while the store is down', () => {
  test('the task holds one batch and takes nothing more; then everything arrives by itself', async () => {
    const harness = await Harness.open({ batchRows: 2 });
    for (let i = 0; i < 10; i++) harness.send(topic, candle({ symbol: `${i}` }), BigInt(i));
    harness.store.down = true;
    const owner = await harness.own(topic);
    let done = false;
    const draining = owner.drain(1).then(() => {
      done = true;
    });
    while (harness.store.calls < 5) await new Promise((resolve) => setImmediate(resolve));
    expect([done, await harness.committed(topic), harness.store.rows.size]).toEqual([false, undefined, 0]);
    expect(harness.breaker).toEqual([true]);
    expect(await gaugeOf(harness, 'millrace_hot_store_breaker_open')).toBe(1);
    harness.store.down = false;
    await draining;
    expect(harness.rows(topic, 'symbol')).toHaveLength(10);
    expect(await harness.committed(topic)).toBe(10n);
    expect(harness.breaker).toEqual([true, false]);
    expect(await gaugeOf(harness, 'millrace_hot_store_breaker_open')).toBe(0);
  });

  test('a task that ends does not wait for it, and commits nothing that is not stored', async () => {
    const harness = await Harness.open({ batchRows: 1 });
    harness.send(topic, candle());
    harness.store.down = true;
    const ending = new AbortController();
    const owner = await harness.own(topic, ending.signal);
    const failed = expect(owner.drain()).rejects.toMatchObject({ code: 'HOT_STORE_UNAVAILABLE', disposition: 'retry' });
    while (harness.store.calls < 4) await new Promise((resolve) => setImmediate(resolve));
    ending.abort();
    await failed;
    await expect(owner.handler.close()).rejects.toMatchObject({ code: 'HOT_STORE_UNAVAILABLE' });
    expect(await harness.committed(topic)).toBeUndefined();
    harness.store.down = false;
    await harness.run(topic);
    expect(harness.rows(topic, 'revision')).toEqual([['1']]);
  });
});

describe('an owner that was replaced', () => {
  test('cannot commit, and what it still writes changes nothing', async () => {
    const harness = await Harness.open();
    harness.send(topic, candle({ revision: 1, trade_count: 1n }));
    const zombie = await harness.own(topic);
    await zombie.drain();
    harness.send(topic, candle({ revision: 2, trade_count: 2n }));
    await harness.run(topic);
    await expect(zombie.handler.close()).rejects.toMatchObject({ code: 'FENCED' });
    expect(harness.rows(topic, 'revision', 'trade_count')).toEqual([['2', '2']]);
    expect(await harness.committed(topic)).toBe(2n);
  });
});

test('after any failures, in any portions, the table has the newest revisions of the topic and each bad record is one dead letter', async () => {
  const record = fc.record({ symbol: fc.constantFrom('A', 'B', 'C'), revision: fc.integer({ min: 1, max: 9 }) });
  const sent = fc.array(fc.oneof({ weight: 6, arbitrary: record }, { weight: 1, arbitrary: fc.constant(null) }), {
    maxLength: 30,
  });
  const transactionFaults = fc.array(
    fc.constantFrom<TransactionFault>('abort', 'unknown-committed', 'unknown-aborted'),
    { maxLength: 5 },
  );
  const storeFaults = fc.array(fc.constantFrom<StoreFault | undefined>('before', 'after', undefined), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(
      sent,
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      transactionFaults,
      storeFaults,
      async (records, batchRows, chunk, transactions, stores) => {
        const harness = await Harness.open({ batchRows });
        // All records of one revision have the same value, as from a processor.
        for (const each of records)
          harness.send(topic, each && candle({ ...each, trade_count: BigInt(each.revision) }));
        harness.fault(topic, ...transactions);
        harness.store.fault(...stores);
        await harness.run(topic, chunk);
        const newest = new Map<string, number>();
        for (const each of records)
          if (each) newest.set(each.symbol, Math.max(newest.get(each.symbol) ?? 0, each.revision));
        expect(harness.rows(topic, 'symbol', 'revision', 'trade_count')).toEqual(
          [...newest].sort().map(([symbol, revision]) => [symbol, `${revision}`, `${revision}`]),
        );
        const dead = (await harness.dead()).map(({ origin }) => Number(origin.offset));
        expect(dead).toEqual(records.flatMap((each, i) => (each === null ? [i] : [])));
        if (records.length > 0) expect(await harness.committed(topic)).toBe(BigInt(records.length));
      },
    ),
    { numRuns: 100 },
  );
});

test('the lag is the age of the oldest record that was read and is not stored', async () => {
  const harness = await Harness.open();
  const owner = await harness.own(topic);
  harness.send(topic, candle({ symbol: 'A' }), BigInt(Date.now() - 60_000));
  harness.send(topic, candle({ symbol: 'B' }), BigInt(Date.now()));
  expect(await gaugeOf(harness, 'millrace_hot_store_lag_seconds')).toBe(0);
  await owner.drain();
  expect(await gaugeOf(harness, 'millrace_hot_store_lag_seconds')).toBeGreaterThanOrEqual(60);
  await owner.handler.close();
  expect(await gaugeOf(harness, 'millrace_hot_store_lag_seconds')).toBe(0);
});

async function gaugeOf(harness: Harness, name: string): Promise<number | undefined> {
  const metric = harness.metrics.registry.getSingleMetric(name);
  return (await metric?.get())?.values[0]?.value;
}
