import { MillraceError } from '../../core/base/errors.ts';
import type { Context, Fold, InputRecord, TableRecord } from '../../core/processor/define.ts';
import { CapturedTable, type RowChange, type TablePosition } from '../../core/processor/joins/table.ts';
import { fits } from '../../core/values/decimal.ts';
import { parseTimestamp } from '../../core/values/time.ts';
import type { InstrumentRow } from '../../schemas/gen/instrument_change.ts';
import type { LateReason } from '../../schemas/gen/late_trade.ts';
import type { Instrument, MarketTrade, TradeOperation } from '../../schemas/gen/market_trade.ts';
import type { MarketTradeKey } from '../../schemas/gen/market_trade_key.ts';
import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';
import type { TradeKey } from '../../schemas/gen/trade_key.ts';
import { lateTrade } from '../late-trade.ts';
import { presentRow, unknownOperation } from '../trade-change.ts';
import { instrumentKey, instrumentStore, marksStore } from './state.ts';

const OPERATIONS: Readonly<Record<string, TradeOperation>> = { c: 'CREATE', r: 'READ', u: 'UPDATE', d: 'DELETE' };

/** A parsed change of a trade. */
interface ParsedTrade {
  readonly row: TradeRow;
  readonly operation: TradeOperation;
  /** Event time, microseconds. */
  readonly time: bigint;
  /** Unscaled at scale 16. */
  readonly notional: bigint;
}

/** One output per change; no state about trades. Event time is copied and decides nothing. */
export class EnrichmentFold implements Fold<TradeChange> {
  readonly #context: Context<TradeChange>;
  readonly #instruments: CapturedTable<Pick<InstrumentRow, 'venue' | 'symbol'>, InstrumentRow>;

  constructor(context: Context<TradeChange>) {
    this.#context = context;
    this.#instruments = new CapturedTable({
      rows: context.store<InstrumentRow>(instrumentStore.name),
      marks: context.store<TablePosition>(marksStore),
      keyOf: instrumentKey,
    });
  }

  table(record: TableRecord): void {
    const change = record.value as RowChange<InstrumentRow> | null;
    if (change?.after != null) refuseSteps(change.after);
    this.#instruments.apply(record);
  }

  record(record: InputRecord<TradeChange>): void {
    const change = readChange(record.value);
    const { venue, symbol, trade_id } = change.row;
    const key: MarketTradeKey = { venue, symbol, trade_id };
    this.#context.emit('market.trades', key, this.#enriched(record, change));
  }

  duplicate(record: InputRecord<TradeChange>): void {
    this.#notNew(record, readChange(record.value), 'DUPLICATE');
  }

  backfilled(record: InputRecord<TradeChange>): void {
    this.#notNew(record, readChange(record.value), 'SNAPSHOT');
  }

  gauges(): Readonly<Record<string, number>> {
    return { instruments: this.#instruments.size };
  }

  #enriched(record: InputRecord<TradeChange>, { row, operation, time, notional }: ParsedTrade): MarketTrade {
    const known = this.#instruments.get(row);
    const instrument: Instrument | null = known === undefined ? null : instrumentOf(known);
    return {
      venue: row.venue,
      symbol: row.symbol,
      trade_id: row.trade_id,
      venue_sequence: row.venue_sequence,
      price: row.price,
      size: row.size,
      notional,
      side: row.side,
      executed_at: time,
      conditions: row.conditions,
      operation,
      instrument,
      on_tick: instrument === null ? null : row.price % instrument.tick_size === 0n,
      on_lot: instrument === null ? null : row.size % instrument.lot_size === 0n,
      log_time: record.logTime,
      lsn: record.lsn,
      origin: { topic: record.topic, partition: record.partition, offset: record.offset },
      processor_version: this.#context.processor.version,
    };
  }

  #notNew(record: InputRecord<TradeChange>, { row, time }: ParsedTrade, reason: LateReason): void {
    const { venue, symbol, trade_id: id, venue_sequence: sequence } = row;
    const outcome = { reason, effect: 'NOT_APPLIED', window: null, lateness: null } as const;
    const late = lateTrade(record, { ...row, id, sequence, time }, outcome);
    this.#context.emit('enrichment.late', { venue, symbol } satisfies TradeKey, late);
  }
}

/** @throws MillraceError BAD_RECORD: the change is not of one trade, or its notional exceeds DECIMAL(38,16). */
function readChange({ op, before, after }: TradeChange): ParsedTrade {
  const operation = OPERATIONS[op];
  if (operation === undefined) throw unknownOperation(op);
  const row = presentRow(op === 'd' ? before : after, op);
  const notional = row.price * row.size;
  if (!fits(notional, 38)) {
    throw new MillraceError('BAD_RECORD', `trade ${row.trade_id}: its notional exceeds DECIMAL(38,16)`, {
      remedy: 'Correct the row in Postgres.',
    });
  }
  return { row, operation, time: parseTimestamp(row.executed_at), notional };
}

/** @throws MillraceError BAD_RECORD: a step of zero or below has no multiples. */
function refuseSteps({ venue, symbol, tick_size, lot_size }: InstrumentRow): void {
  if (tick_size > 0n && lot_size > 0n) return;
  throw new MillraceError('BAD_RECORD', `instrument ${venue} ${symbol}: tick_size and lot_size have to be above zero`, {
    remedy: 'Correct the row in Postgres.',
  });
}

/** The instrument without its key fields, which the trade has. */
function instrumentOf({ base, quote, tick_size, lot_size, active }: InstrumentRow): Instrument {
  return { base, quote, tick_size, lot_size, active };
}
