import type { TradeRow } from '../../../schemas/gen/trade_change.ts';
import { lengths, type Meant, startOf, timeOf } from './trades.ts';

/**
 * The candles of one interval by their definition: what is left of the trades after every change that was applied, grouped, sorted, counted.
 *
 * @param refused offsets of changes that were not applied to this interval.
 */
export function recompute(
  interval: string,
  meant: readonly Meant[],
  refused: ReadonlySet<bigint>,
): ReadonlyMap<string, string> {
  const length = lengths[interval] as bigint;
  const held = new Map<string, TradeRow>();
  for (const each of meant) {
    if (each.is === 'bad' || each.is === 'duplicate' || refused.has(each.offset)) continue;
    const { row } = each;
    if (each.is === 'trade') held.set(row.trade_id, row);
    else if (each.gone) held.delete(row.trade_id);
    else if (held.has(row.trade_id)) held.set(row.trade_id, row);
  }
  const windows = Map.groupBy(held.values(), (row) => `${row.symbol} ${interval} ${startOf(timeOf(row), length)}`);
  return new Map([...windows].map(([name, rows]) => [name, figures(rows)]));
}

function figures(rows: readonly TradeRow[]): string {
  const sorted = rows.toSorted(compare);
  const first = sorted[0] as TradeRow;
  const last = sorted.at(-1) as TradeRow;
  const byPrice = sorted.toSorted((a, b) => sign(a.price - b.price) || sign(timeOf(a) - timeOf(b)));
  const low = byPrice[0] as TradeRow;
  const greatest = (byPrice.at(-1) as TradeRow).price;
  const high = byPrice.find(({ price }) => price === greatest) as TradeRow;
  const volume = rows.reduce((sum, { size }) => sum + size, 0n);
  const notional = rows.reduce((sum, { price, size }) => sum + price * size, 0n);
  // Half away from zero, of numbers that are not negative.
  const vwap = volume === 0n ? null : (2n * notional + volume) / (2n * volume);
  return [
    ...[first.price, high.price, low.price, last.price, vwap, volume, notional, rows.length],
    ...[first.trade_id, last.trade_id, timeOf(first), timeOf(high), timeOf(low), timeOf(last)],
  ].join(' ');
}

function compare(a: TradeRow, b: TradeRow): number {
  return (
    sign(timeOf(a) - timeOf(b)) ||
    sign((a.venue_sequence ?? -1n) - (b.venue_sequence ?? -1n)) ||
    Buffer.compare(Buffer.from(a.trade_id), Buffer.from(b.trade_id))
  );
}

function sign(difference: bigint): number {
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}
