import { expect, test } from '@jest/globals';
import type { TradeRow } from '../../../schemas/gen/trade_change.ts';
import { type Input, Recompute } from './recompute.ts';

const window = { start: 0n, end: 60_000_000n };
let next = 0n;

function input(op: string, id: string, second: string, price: bigint, over: Partial<TradeRow> = {}): Input {
  next += 1n;
  const row: TradeRow = {
    venue: 'v',
    symbol: 'A/B',
    trade_id: id,
    venue_sequence: null,
    price,
    size: 200_000_000n,
    side: 'buy',
    executed_at: `1970-01-01T00:${second}Z`,
    conditions: null,
    ...over,
  };
  return { offset: next, op, lsn: 1000n + next, txId: next, row };
}

async function recomputed(inputs: readonly Input[], aside: readonly [offset: bigint, whole: boolean][] = []) {
  await using recompute = await Recompute.open();
  await recompute.add(inputs);
  for (const [offset, whole] of aside) await recompute.setAside(offset, whole);
  await recompute.fold(window);
  const trades = await recompute.trades(10);
  return {
    figures: await recompute.figures(),
    ids: trades.map(({ trade_id }) => trade_id),
    ...(await recompute.counts()),
  };
}

test('the figures are those of the trades in the window, in its order, exactly', async () => {
  const exact = 99_999_999_999_999_999_999n;
  const { figures, ids, read } = await recomputed([
    input('c', 'b', '00:10', 300_000_000n),
    input('c', 'a', '00:10', 100_000_000n),
    input('c', 'last', '00:59.999999', exact),
    input('c', 'sequenced', '00:10', 200_000_000n, { venue_sequence: 1n }),
    input('c', 'outside', '01:00', 1n),
  ]);
  expect(ids).toEqual(['a', 'b', 'sequenced', 'last']);
  expect(read).toBe(5n);
  expect(figures).toEqual({
    open: 100_000_000n,
    high: exact,
    low: 100_000_000n,
    close: exact,
    volume: 800_000_000n,
    notional: 200_000_000n * (600_000_000n + exact),
    vwap: (600_000_000n + exact + 2n) / 4n,
    trade_count: 4n,
    first_trade_id: 'a',
    last_trade_id: 'last',
    open_time: 10_000_000n,
    high_time: 59_999_999n,
    low_time: 10_000_000n,
    close_time: 59_999_999n,
  });
});

test('a trade has the state of its newest change: updated, moved in, moved out, deleted', async () => {
  const { ids, figures } = await recomputed([
    input('c', 'updated', '00:10', 100_000_000n),
    input('u', 'updated', '00:10', 700_000_000n),
    input('c', 'moved in', '05:00', 1n),
    input('u', 'moved in', '00:20', 200_000_000n),
    input('c', 'moved out', '00:30', 1n),
    input('u', 'moved out', '05:00', 1n),
    input('c', 'deleted', '00:40', 1n),
    input('d', 'deleted', '00:40', 1n),
    input('c', 'back', '00:50', 1n),
    input('d', 'back', '00:50', 1n),
    input('c', 'back', '00:50', 300_000_000n),
  ]);
  expect(ids).toEqual(['updated', 'moved in', 'back']);
  expect(figures).toMatchObject({ open: 700_000_000n, low: 200_000_000n, close: 300_000_000n });
});

test('changes that the processor did not apply leave the window unchanged, whole changes and those of this window alone', async () => {
  const created = input('c', 'frozen', '00:10', 100_000_000n);
  const frozen = input('u', 'frozen', '00:10', 1n);
  const refused = input('c', 'refused', '00:20', 1n);
  const moved = input('u', 'refused', '00:30', 200_000_000n);
  const { ids, figures } = await recomputed(
    [created, frozen, refused, moved],
    [
      [frozen.offset, false],
      [refused.offset, true],
    ],
  );
  expect(ids).toEqual(['frozen', 'refused']);
  expect(figures).toMatchObject({ open: 100_000_000n, close: 200_000_000n });
});

test('a trade that was moved out of a frozen window stays in it, also when it is deleted elsewhere', async () => {
  const created = input('c', 'a', '00:10', 100_000_000n);
  const moved = input('u', 'a', '05:00', 1n);
  const deleted = input('d', 'a', '05:00', 1n);
  const { ids } = await recomputed([created, moved, deleted], [[moved.offset, false]]);
  expect(ids).toEqual(['a']);
});

test('a window without trades has no figures', async () => {
  expect((await recomputed([input('c', 'outside', '01:00', 1n)])).figures).toBeUndefined();
});
