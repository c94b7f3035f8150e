import type { TradeChange, TradeRow } from '../../../schemas/gen/trade_change.ts';

export type Decode = (bytes: Buffer) => unknown;

export interface Rules {
  readonly watermarkDelayMs: number;
  readonly maxFutureSkewMs: number;
}

/** Microseconds. */
export const lengths: Readonly<Record<string, bigint>> = { '1m': 60_000_000n, '5m': 300_000_000n };

/** What a change of the table of trades means, by its definition. */
export type Meant =
  | { readonly offset: bigint; readonly is: 'bad' }
  | { readonly offset: bigint; readonly is: 'duplicate' }
  /** `late`: the intervals for which it comes behind its symbol's watermark, shortest first. */
  | { readonly offset: bigint; readonly is: 'trade'; readonly row: TradeRow; readonly late: readonly string[] }
  | { readonly offset: bigint; readonly is: 'correction'; readonly row: TradeRow; readonly gone: boolean };

/** Reads the changes of one partition, in order. */
export function interpret(
  input: readonly { readonly offset: bigint; readonly change: unknown }[],
  { watermarkDelayMs, maxFutureSkewMs }: Rules,
): Meant[] {
  const meant: Meant[] = [];
  const seen = new Set<string>();
  const symbols = new Map<string, { event: bigint; log: bigint; reached: bigint }>();
  let now = 0n;
  for (const { offset, change } of input) {
    if (change === undefined) {
      meant.push({ offset, is: 'bad' });
      continue;
    }
    const { op, before, after, source } = change as TradeChange;
    const log = source.ts_us ?? 0n;
    if (log > now) now = log;
    const row = after ?? before;
    const identity = `${source.sequence} ${op} ${row?.trade_id}`;
    if (seen.has(identity) && row === null) {
      // A truncation names no trade, so one that is delivered again cannot be in the late topic either.
      meant.push({ offset, is: 'bad' });
      continue;
    }
    if (seen.has(identity)) {
      meant.push({ offset, is: row !== null && row.size < 0n ? 'bad' : 'duplicate' });
      continue;
    }
    seen.add(identity);
    if (row === null || row.size < 0n) {
      meant.push({ offset, is: 'bad' });
      continue;
    }
    if (op !== 'c') {
      meant.push({ offset, is: 'correction', row, gone: op === 'd' });
      continue;
    }
    const event = timeOf(row);
    if (event - log > BigInt(maxFutureSkewMs) * 1_000n) {
      meant.push({ offset, is: 'bad' });
      continue;
    }
    const progress = symbols.get(row.symbol);
    const late: string[] = [];
    if (progress === undefined) symbols.set(row.symbol, { event, log, reached: -(2n ** 60n) });
    else {
      const moved = progress.event + (now - progress.log) - BigInt(watermarkDelayMs) * 1_000n;
      if (moved > progress.reached) progress.reached = moved;
      for (const [interval, length] of Object.entries(lengths)) {
        if (startOf(event, length) + length <= progress.reached) late.push(interval);
      }
      if (event > progress.event) {
        progress.event = event;
        progress.log = log;
      }
    }
    meant.push({ offset, is: 'trade', row, late });
  }
  return meant;
}

/** Rows are looked at again and again while a run goes on. */
const times = new WeakMap<TradeRow, bigint>();

/** Event time, microseconds. */
export function timeOf(row: TradeRow): bigint {
  const known = times.get(row);
  if (known !== undefined) return known;
  const [, whole, fraction = ''] = /^(.*?)(?:\.(\d+))?Z$/.exec(row.executed_at) ?? [];
  const time = BigInt(Date.parse(`${whole}Z`)) * 1_000n + BigInt(fraction.padEnd(6, '0').slice(0, 6));
  times.set(row, time);
  return time;
}

export function startOf(time: bigint, length: bigint): bigint {
  return time - (((time % length) + length) % length);
}
