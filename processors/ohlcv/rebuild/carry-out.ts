import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { wallClock } from '../../../core/base/clock.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import type { Writer } from '../../../core/log/log.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { JournalEntry } from '../../../schemas/gen/journal_entry.ts';
import type { RebuildOrder } from '../../../schemas/gen/rebuild_order.ts';
import type { TradeKey } from '../../../schemas/gen/trade_key.ts';
import { symbolKey } from '../../trade-key.ts';
import { rebuilds } from '../ohlcv.ts';
import type { RebuildPlan } from './plan.ts';
import { read, type Sources } from './reading.ts';

/** One owner at a time: a new command fences the previous one, whose plan is then out of date. */
const writerId = 'millrace.rebuild';
const ordersPerTransaction = 500;
const pollMs = 250;

/** Opens the writer of orders. The caller opens it before it plans, so that no other command gives orders in between. */
export function openOrders({ log }: Sources): Promise<Writer> {
  return log.writer(writerId);
}

/** Orders written to the topic. */
export interface IssuedOrders {
  readonly orders: number;
  /** By partition: the offset after each of its orders, ascending. */
  readonly ends: ReadonlyMap<number, readonly bigint[]>;
  /** End offsets of the journal before the orders, by partition. */
  readonly journal: readonly bigint[];
  /** End offsets of the candles before the orders, by partition. */
  readonly candles: readonly bigint[];
}

/**
 * Writes the plan's orders for the tasks.
 *
 * @param nowMicros the operator's clock, microseconds.
 * @throws MillraceError STAGE_BEHIND: earlier orders are pending, and the plan may contain their candles.
 * @throws MillraceError FENCED: another command has begun.
 */
export async function giveOrders(
  { log, schemas }: Sources,
  writer: Writer,
  { orders, pending }: RebuildPlan,
  nowMicros: bigint,
): Promise<IssuedOrders> {
  if (pending > 0) {
    throw new MillraceError('STAGE_BEHIND', `ohlcv has ${pending} orders of an earlier rebuild to carry out`, {
      remedy: 'let ohlcv run until it has taken them, then run the command again',
    });
  }
  const keys = await AvroEncoder.open<TradeKey>(schemas, `${rebuilds.topic}-key`, contracts.trade_key);
  const values = await AvroEncoder.open<RebuildOrder>(schemas, `${rebuilds.topic}-value`, contracts.rebuild_order);
  const [journal, candles] = [await log.ends('ohlcv.journal'), await log.ends('market.candles')];
  const ends = new Map<number, bigint[]>();
  for (let at = 0; at < orders.length; at += ordersPerTransaction) {
    const some = orders.slice(at, at + ordersPerTransaction);
    const [written] = await writer.transact({
      records: some.map((order) => ({
        topic: rebuilds.topic,
        partition: 0,
        key: keys.encode({ venue: order.venue, symbol: order.symbol }),
        value: values.encode({ ...order, ordered_at: nowMicros }),
        timestamp: nowMicros / 1000n,
      })),
    });
    for (const [i, { partition }] of some.entries()) {
      const end = (written?.baseOffset ?? 0n) + BigInt(i) + 1n;
      ends.set(partition, [...(ends.get(partition) ?? []), end]);
    }
  }
  return { orders: orders.length, ends, journal, candles };
}

/**
 * Waits until the tasks' journals show that the orders were taken.
 *
 * @param waitMs longest wait without progress, milliseconds.
 * @throws MillraceError STAGE_BEHIND: the orders stay in the topic and are carried out when `ohlcv` runs.
 */
export async function untilTaken(
  sources: Sources,
  { orders, ends, journal }: IssuedOrders,
  waitMs: number,
  onProgress: (progress: { readonly done: number; readonly of: number }) => void,
): Promise<void> {
  const left = new Map(ends);
  const positions = [...journal];
  let movedMs = wallClock.now();
  while (left.size > 0) {
    const now = await sources.log.ends('ohlcv.journal');
    for (const [partition, own] of [...left]) {
      const extent = { partition, from: positions[partition] ?? 0n, to: now[partition] ?? 0n };
      positions[partition] = extent.to;
      for await (const portion of read<JournalEntry>(sources, 'ohlcv.journal', contracts.journal_entry, extent)) {
        for (const { value } of portion) {
          if (value.kind !== 'TABLE' || value.topic !== rebuilds.topic) continue;
          movedMs = wallClock.now();
          const rest = own.filter((end) => end > (value.to_offset ?? 0n));
          if (rest.length === 0) left.delete(partition);
          else left.set(partition, rest);
        }
      }
    }
    const due = [...left.values()].reduce((sum, rest) => sum + rest.length, 0);
    onProgress({ done: orders - due, of: orders });
    if (due === 0) return;
    if (wallClock.now() - movedMs > waitMs) {
      throw new MillraceError('STAGE_BEHIND', `ohlcv has not taken the orders of ${left.size} partitions`, {
        remedy: 'the orders stand: start ohlcv, or resume its tasks, and it carries them out',
      });
    }
    await wallClock.sleep(pollMs, sources.signal);
    sources.signal?.throwIfAborted();
  }
}

/** Number of rebuilt candles of the plan. The task skips a candle whose input is gone, and a new one without trades. */
export async function countRebuilt(
  sources: Sources,
  { orders }: RebuildPlan,
  { candles }: IssuedOrders,
): Promise<number> {
  const wanted = new Set<string>();
  const idOf = (of: { venue: string; symbol: string }, interval: string, start: bigint): string =>
    `${interval} ${start} ${symbolKey(of.venue, of.symbol)}`;
  for (const order of orders) {
    for (const { interval, window_start } of order.windows) wanted.add(idOf(order, interval, window_start));
  }
  const planned = wanted.size;
  for (const partition of new Set(orders.map((order) => order.partition))) {
    const extent = { partition, from: candles[partition] ?? 0n };
    for await (const portion of read<Candle>(sources, 'market.candles', contracts.candle, extent)) {
      for (const { value } of portion) {
        if (value.reason === 'REBUILT') wanted.delete(idOf(value, value.interval, value.window_start));
      }
    }
  }
  return planned - wanted.size;
}
