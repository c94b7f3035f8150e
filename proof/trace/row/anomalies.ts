import type { Anomaly } from '../../../schemas/gen/anomaly.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import { tradesTopic } from '../../reading/topic.ts';
import { find } from '../find.ts';
import type { TraceSources, TradeId } from '../sources.ts';
import type { Trail } from '../trail.ts';
import { type WindowMembership, windowKey } from './membership.ts';
import { type RecordPosition, since } from './outcomes.ts';

/** An anomaly that concerns the trade. */
export interface AnomalyView extends RecordPosition {
  /** `trade`: it names the trade. `candle`: it judges a candle that holds or held the trade. */
  readonly because: 'trade' | 'candle';
  readonly type: string;
  readonly rule: string;
  readonly severity: string;
  readonly status: string;
  readonly revision: number;
  readonly interval: string;
  /** Microseconds. */
  readonly windowStart: bigint;
  readonly explanation: string;
}

const most = 100;

/** The anomalies of a trade and of the candles that took it; at most 100, the newest. */
export async function findAnomalies(
  sources: TraceSources,
  trail: Trail,
  id: TradeId,
  offsets: ReadonlySet<bigint>,
  taken: ReadonlyMap<string, WindowMembership>,
  at: { readonly partition: number; readonly since: bigint | undefined },
): Promise<readonly AnomalyView[]> {
  if (offsets.size === 0) return [];
  const found: AnomalyView[] = [];
  const where = await since(sources, 'market.anomalies', at, at.since);
  const wanted = { reader: contracts.anomaly, bytes: [Buffer.from(id.symbol), Buffer.from(id.venue)] };
  for await (const { record, value, searched } of find<Anomaly>(sources, trail, where, wanted)) {
    if (value.venue !== id.venue || value.symbol !== id.symbol) continue;
    const because = reasonOf(value, id, offsets, taken);
    if (because === undefined) continue;
    searched.found++;
    const { type, rule, severity, status, revision, interval, window_start: windowStart, explanation } = value;
    const place = { topic: where.topic, partition: where.partition, offset: record.offset };
    found.push({ ...place, because, type, rule, severity, status, revision, interval, windowStart, explanation });
    if (found.length > most) found.shift();
  }
  return found;
}

function reasonOf(
  { event, causes, candle }: Anomaly,
  id: TradeId,
  offsets: ReadonlySet<bigint>,
  taken: ReadonlyMap<string, WindowMembership>,
): AnomalyView['because'] | undefined {
  if (event === id.trade_id) return 'trade';
  if (causes.some(({ topic, offset }) => topic === tradesTopic && offsets.has(offset))) return 'trade';
  return candle !== null && taken.has(windowKey(candle.interval, candle.window_start)) ? 'candle' : undefined;
}
