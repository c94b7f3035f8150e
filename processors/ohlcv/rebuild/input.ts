import { undefinedIfDeadLetter } from '../../../core/base/errors.ts';
import { isBackfilled } from '../../../core/capture/backfilled.ts';
import { redrivenOf } from '../../../core/log/redriven.ts';
import { readLetters } from '../../../core/operations/letters.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { readTrade } from '../../trade.ts';
import { rowsOf, trades } from '../../trade-change.ts';
import { symbolKey } from '../../trade-key.ts';
import { read, type Sources } from './reading.ts';
import { concern, type Touched, type TouchedCandles, type TouchedSymbol, windowKey } from './touched.ts';

/** Changes of one symbol that became dead letters, by offset. */
export interface RefusedChanges {
  readonly offsets: bigint[];
  /** One of them is an update or a delete: then the row before a later change may differ from the version in the candles. */
  corrections: boolean;
}

/** Offsets of the trades topic whose changes became dead letters, by partition. Redriven letters are included. */
export async function readRefusedOffsets({ log, schemas, signal }: Sources): Promise<ReadonlyMap<number, Set<bigint>>> {
  const refused = new Map<number, Set<bigint>>();
  for await (const { origin } of readLetters(log, schemas, 'ohlcv', signal)) {
    if (origin.topic !== trades.topic) continue;
    const offsets = refused.get(origin.partition) ?? new Set<bigint>();
    refused.set(origin.partition, offsets.add(origin.offset));
  }
  return refused;
}

/**
 * Reads one partition of the trades topic before `to`. Counts the trades of each touched candle, and finds the offsets that concern it.
 *
 * @returns refused changes by the state's key of a symbol
 */
export async function readInput(
  sources: Sources,
  { symbols, repeated }: TouchedCandles,
  refused: ReadonlySet<bigint>,
  { partition, to, onRead }: { readonly partition: number; readonly to: bigint; readonly onRead: (n: number) => void },
): Promise<ReadonlyMap<string, RefusedChanges>> {
  const found = new Map<string, RefusedChanges>();
  for await (const portion of read<TradeChange>(sources, trades.topic, contracts.trade_change, { partition, to })) {
    for (const { record, value } of portion) {
      const row = value.after ?? value.before;
      const of = row === null ? undefined : symbols.get(symbolKey(row.venue, row.symbol));
      const redriven = redrivenOf(record.headers);
      if (of === undefined || isBackfilled(value)) continue;
      if (redriven !== undefined && redriven.processor !== 'ohlcv') continue;
      const counts = !refused.has(record.offset) && !repeated.has(`${partition}/${record.offset}`);
      if (refused.has(record.offset)) note(found, of.key, record.offset, value.op);
      count(of, value, record.offset, counts);
    }
    onRead(portion.length);
  }
  return found;
}

function note(found: Map<string, RefusedChanges>, key: string, offset: bigint, op: string): void {
  const refused = found.get(key) ?? { offsets: [], corrections: false };
  found.set(key, refused);
  refused.offsets.push(offset);
  refused.corrections ||= op === 'u' || op === 'd';
}

function count(of: TouchedSymbol, value: TradeChange, offset: bigint, counts: boolean): void {
  const rows = undefinedIfDeadLetter(() => rowsOf(value));
  if (rows === undefined) return;
  const time = (row: typeof rows.after): number | undefined =>
    row === null ? undefined : undefinedIfDeadLetter(() => readTrade(row).time);
  for (const [at, step] of [[time(rows.before), -1] as const, [time(rows.after), 1] as const]) {
    if (at === undefined) continue;
    for (const window of undefinedIfDeadLetter(() => windowsAt(of, at)) ?? []) {
      concern(window, offset);
      if (counts) window.found += step;
    }
  }
}

function windowsAt({ plan, windows }: TouchedSymbol, time: number): readonly Touched[] {
  return plan.levels.flatMap(({ windows: level }) => {
    const found: Touched[] = [];
    for (let start = level.at(time); !Number.isNaN(start); start = level.before(start, time)) {
      const window = windows.get(windowKey(level.name, start));
      if (window !== undefined) found.push(window);
    }
    return found;
  });
}
