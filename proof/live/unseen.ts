import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { isBackfilled } from '../../core/capture/backfilled.ts';
import { sourceSchema } from '../../core/capture/captured-row.ts';
import type { Log } from '../../core/log/log.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { readRaw, tradesTopic } from '../reading/topic.ts';
import type { Snapshot } from './snapshot.ts';

/** A change of a trade that is in the log and not in the snapshot. */
export interface UnseenChange {
  readonly partition: number;
  readonly offset: bigint;
  readonly change: TradeChange;
}

export interface UnseenChanges {
  /** End of each partition at the time of the search; later changes are not included. */
  readonly ends: readonly bigint[];
  /** The first unseen change of each partition; undefined if there is none. */
  readonly first: readonly (bigint | undefined)[];
  readonly changes: readonly UnseenChange[];
}

/** Only the fields that name a change's origin. */
const sourceOnly = sourceSchema('txId', 'lsn', 'snapshot');

/**
 * Finds the changes of trades that the snapshot does not see, whatever their order in the log. Rows that a backfill read are no changes.
 *
 * @param settled by partition, the offset below which the snapshot sees every change; it is where the search begins. Default: start of the
 *   log
 */
export async function findUnseen(
  log: Log,
  schemas: Schemas,
  snapshot: Snapshot,
  settled: readonly bigint[] = [],
): Promise<UnseenChanges> {
  const [starts, ends] = await Promise.all([log.starts(tradesTopic), log.ends(tradesTopic)]);
  const first: (bigint | undefined)[] = [];
  const changes: UnseenChange[] = [];
  const narrow = new AvroDecoder<Pick<TradeChange, 'op' | 'source'>>(schemas, sourceOnly);
  for (const [partition, to] of ends.entries()) {
    const [start, known] = [starts[partition] ?? 0n, settled[partition] ?? 0n];
    const from = known > start ? known : start;
    first[partition] = await firstUnseen(log, narrow, snapshot, { partition, from, to });
    if (first[partition] === undefined) continue;
    const rest = { partition, from: first[partition], to };
    const whole = new AvroDecoder<TradeChange>(schemas, contracts.trade_change);
    for await (const { records } of readRaw(log, tradesTopic, undefined, rest)) {
      await prepare(whole, records);
      for (const { offset, value } of records) {
        const change = whole.decodeIfReadable(value);
        if (change !== undefined && isUnseen(snapshot, change)) changes.push({ partition, offset, change });
      }
    }
  }
  return { ends, first, changes };
}

async function firstUnseen(
  log: Log,
  decoder: AvroDecoder<Pick<TradeChange, 'op' | 'source'>>,
  snapshot: Snapshot,
  range: { readonly partition: number; readonly from: bigint; readonly to: bigint },
): Promise<bigint | undefined> {
  for await (const { records } of readRaw(log, tradesTopic, undefined, range)) {
    await prepare(decoder, records);
    for (const { offset, value } of records) {
      const change = decoder.decodeIfReadable(value);
      if (change !== undefined && isUnseen(snapshot, change)) return offset;
    }
  }
  return undefined;
}

function isUnseen(snapshot: Snapshot, change: Pick<TradeChange, 'op' | 'source'>): boolean {
  return !isBackfilled(change) && !snapshot.sees(sourceOf(change));
}

export function sourceOf({
  op,
  source: { txId, lsn },
}: {
  op: string;
  source: { txId: bigint | null; lsn: bigint | null };
}) {
  return { op, txId, lsn };
}

async function prepare(
  decoder: AvroDecoder<object>,
  records: readonly { readonly value: Buffer | null }[],
): Promise<void> {
  const missing = decoder.missing(records.map(({ value }) => value));
  if (missing.length > 0) await decoder.prepare(missing);
}
