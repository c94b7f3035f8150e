/** Follows the rows of one load through every stage, until all of them have arrived everywhere. */
import { setTimeout as delay } from 'node:timers/promises';
import { readTotals } from '../../core/archive/listing/totals.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { readCandles } from '../market/candles.ts';
import { eventTimes } from '../status/event-times.ts';
import { readStages, stages } from '../status/stages.ts';
import type { Pipeline } from './pipeline.ts';

export interface Arrival {
  readonly stage: string;
  readonly done: number;
  readonly total: number;
  /** Milliseconds since following began; undefined until the rows have arrived. */
  readonly ms: number | undefined;
}

export interface FollowOptions {
  readonly config: Config;
  readonly log: Log;
  readonly schemas: Schemas;
  readonly pipeline: Pipeline;
  readonly symbol: string;
  /** Trades in Postgres. */
  readonly rows: number;
  readonly startedMs: number;
  readonly onProgress: (arrivals: readonly Arrival[]) => void;
  readonly signal: AbortSignal;
}

const trades = 'cdc.public.trades';
const processors = stages.filter(({ name }) => name === 'ohlcv' || name === 'anomaly');
const pollMs = 500;
const patienceMs = 240_000;
export const stageNames = ['captured', 'folded into candles', 'searched for anomalies', 'archived as Parquet'] as const;

/** @throws MillraceError PIPELINE_STUCK: names the stage that does not move. */
export async function follow(options: FollowOptions): Promise<readonly Arrival[]> {
  const { log, schemas, rows, pipeline, signal } = options;
  const arrivedMs = new Map<string, number>();
  const eventTimeOf = eventTimes(schemas);
  for (;;) {
    signal.throwIfAborted();
    await pipeline.check();
    const elapsed = performance.now() - options.startedMs;
    const captured = Math.min(rows, Number((await log.ends(trades)).reduce((sum, end) => sum + end, 0n)));
    const [folded, searched] = await readStages({ log, stages: processors, eventTimeOf, signal });
    const archived = await readTotals({ log, schemas, signal }, trades);
    const candleCount = Number((await log.ends('market.candles')).reduce((sum, end) => sum + end, 0n));
    const done = [
      captured,
      captured < rows
        ? Math.max(0, captured - Number(folded?.lagRecords ?? 0n))
        : rows - Number(folded?.lagRecords ?? 0n),
      candleCount - Number(searched?.lagRecords ?? 0n),
      Number(archived.reduce((sum, { listed }) => sum + listed.rows, 0n)),
    ];
    const totals = [rows, rows, candleCount, rows];
    const arrivals = stageNames.map((stage, i): Arrival => {
      const [reached, total] = [Math.max(0, Math.min(done[i] ?? 0, totals[i] ?? 0)), totals[i] ?? 0];
      const earlierDone = i === 0 || arrivedMs.has(stageNames[i === 3 ? 0 : i - 1] ?? '');
      if (reached >= total && total > 0 && earlierDone && !arrivedMs.has(stage)) arrivedMs.set(stage, elapsed);
      return { stage, done: reached, total, ms: arrivedMs.get(stage) };
    });
    options.onProgress(arrivals);
    if (arrivals.every(({ ms }) => ms !== undefined) && (await allCounted(options))) return arrivals;
    if (elapsed > patienceMs) {
      const stuck = arrivals.find(({ ms }) => ms === undefined)?.stage ?? 'the last candles';
      throw new MillraceError(
        'PIPELINE_STUCK',
        `after ${Math.round(elapsed / 1000)} s these stages are not done: ${stuck}`,
        {
          remedy: `read ${pipeline.log}, and millrace status --stack ${options.config.stack.name}`,
        },
      );
    }
    await delay(pollMs, undefined, { signal });
  }
}

/**
 * Whether candles count all trades. Open windows show their newest state as PARTIAL at the next heartbeat; until then some trades are in no
 * candle.
 */
async function allCounted({ config, log, schemas, symbol, rows, signal }: FollowOptions): Promise<boolean> {
  for (const interval of config.ohlcv.intervals) {
    const { candles } = await readCandles(log, schemas, { symbol, interval, signal });
    const counted = candles.reduce((sum, candle) => sum + candle.trade_count, 0n);
    if (counted < BigInt(rows)) return false;
  }
  return true;
}
