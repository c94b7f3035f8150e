import { schemaIdOf } from '../../../core/avro/decoder.ts';
import { partitionOf } from '../../../core/capture/routing.ts';
import { type Redriven, redrivenOf } from '../../../core/log/redriven.ts';
import type { ColumnValue } from '../../../core/values/rowhash/rowhash.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange, TradeRow } from '../../../schemas/gen/trade_change.ts';
import { RowReader } from '../../archive/logged.ts';
import { tradesTopic } from '../../reading/topic.ts';
import { type Bounds, boundsOf, find } from '../find.ts';
import type { ObjectListing } from '../object/listing.ts';
import type { TraceSources, TradeId } from '../sources.ts';
import { allColumns, readTexts, selectTexts, type Texts, textsOf } from '../texts.ts';
import type { Trail } from '../trail.ts';

const columns = allColumns(tradesTopic);

/** One change of a row, from the log or, below the start of the log, from the archive. */
export interface TracedChange {
  readonly offset: bigint;
  readonly source: 'log' | 'archive';
  /** Data and lineage columns, as the archive must hold them. */
  readonly texts: Texts;
  /** The row before; null if there was none or it is unknown, because the archive does not keep it. */
  readonly before: TradeRow | null;
  /** Kafka's timestamp of the record, milliseconds; null from the archive. */
  readonly recordTime: bigint | null;
  readonly schemaId: number | null;
  readonly redriven: Redriven | null;
}

export interface ChangeRange {
  /** First offset. Default: the earliest in log and archive. */
  readonly from?: bigint;
  /** Exclusive. Default: the end of the log. */
  readonly to?: bigint;
}

/** The partition of a trade's changes, computed from its key. */
export async function partitionOfTrade(
  { log }: TraceSources,
  { venue, symbol }: Omit<TradeId, 'trade_id'>,
): Promise<number> {
  return partitionOf([venue, symbol], (await log.ends(tradesTopic)).length);
}

/**
 * Every change of a row, in offset order: from the log and, below its start, from the archive's listed objects. It reads the whole
 * partition, because a change may be committed at any time.
 */
export async function findChanges(
  sources: TraceSources,
  trail: Trail,
  listing: ObjectListing,
  id: TradeId,
  partition: number,
  range: ChangeRange = {},
): Promise<TracedChange[]> {
  const bounds = (await boundsOf(sources.log, tradesTopic, partition)) ?? { start: 0n, end: 0n };
  const archived = await fromArchive(sources, trail, listing, id, partition, range, bounds);
  const logged: TracedChange[] = [];
  const rows = new RowReader(sources.schemas, tradesTopic, columns);
  const wanted = { reader: contracts.trade_change, bytes: [Buffer.from(id.trade_id)] };
  const where = { topic: tradesTopic, partition, ...range };
  for await (const { record, value, searched } of find<TradeChange>(sources, trail, where, wanted)) {
    const row = value.after ?? value.before;
    if (row === null || !isSame(row, id)) continue;
    await rows.prepare([record]);
    const values: readonly ColumnValue[] | undefined = rows.row(partition, record);
    // Not a row: every reader makes it a dead letter.
    if (values === undefined) continue;
    searched.found++;
    logged.push({
      offset: record.offset,
      source: 'log',
      texts: textsOf(columns, values),
      before: value.before,
      recordTime: record.timestamp,
      schemaId: record.value === null ? null : (schemaIdOf(record.value) ?? null),
      redriven: redrivenOf(record.headers) ?? null,
    });
  }
  return [...archived, ...logged];
}

async function fromArchive(
  { onProgress }: TraceSources,
  trail: Trail,
  listing: ObjectListing,
  id: TradeId,
  partition: number,
  range: ChangeRange,
  { start }: Bounds,
): Promise<TracedChange[]> {
  const from = range.from ?? 0n;
  const to = range.to === undefined || range.to > start ? start : range.to;
  if (from >= to) return [];
  const objects = (await listing.of(partition)).filter((each) => each.first_offset < to && each.last_offset >= from);
  const what = `archive of ${tradesTopic}/${partition}`;
  const searched = trail.search(what, { from, to }, `${objects.length} objects; the log begins at ${start}`);
  const changes: TracedChange[] = [];
  for (const [i, object] of objects.entries()) {
    onProgress?.({ what, done: i, total: objects.length });
    await using files = await listing.open(object);
    const found = await files.db.runAndReadAll(
      `SELECT ${selectTexts('duckdb', columns)} FROM archived
        WHERE venue = $1 AND symbol = $2 AND trade_id = $3 AND _offset >= $4 AND _offset < $5 ORDER BY _offset`,
      [id.venue, id.symbol, id.trade_id, from, to],
    );
    searched.records += Number(object.rows);
    for (const each of found.getRowObjects()) {
      const texts = readTexts(columns, each);
      searched.found++;
      changes.push({
        offset: BigInt(texts['_offset'] as string),
        source: 'archive',
        texts,
        before: null,
        recordTime: null,
        schemaId: object.schema_id,
        redriven: null,
      });
    }
  }
  return changes.sort((a, b) => (a.offset < b.offset ? -1 : 1));
}

function isSame(row: TradeRow, { venue, symbol, trade_id }: TradeId): boolean {
  return row.trade_id === trade_id && row.symbol === symbol && row.venue === venue;
}

/** Repeated changes by offset, with the offset of the first delivery. Equal LSN, operation and row make the same change. */
export function repeated(changes: readonly TracedChange[]): ReadonlyMap<bigint, bigint> {
  const first = new Map<string, bigint>();
  const found = new Map<bigint, bigint>();
  for (const { offset, texts } of changes) {
    const identity = `${texts['_lsn']} ${texts['_op']}`;
    const before = first.get(identity);
    if (before === undefined) first.set(identity, offset);
    else found.set(offset, before);
  }
  return found;
}
