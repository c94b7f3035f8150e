import { MillraceError, undefinedIfDeadLetter } from '../../core/base/errors.ts';
import type { Context, Fold, InputRecord, Store, TableRecord } from '../../core/processor/define.ts';
import type { Emission } from '../../core/processor/windows/aggregation.ts';
import type { RecordVersion } from '../../core/processor/windows/revisions/latest-versions.ts';
import type { WindowOutcome } from '../../core/processor/windows/revisions/revision.ts';
import { Windowed } from '../../core/processor/windows/windowed.ts';
import type { CandleKey } from '../../schemas/gen/candle_key.ts';
import type { RebuildOrder } from '../../schemas/gen/rebuild_order.ts';
import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';
import type { TradeKey } from '../../schemas/gen/trade_key.ts';
import { type LateOutcome, lateTrade } from '../late-trade.ts';
import { readTrade, type Trade } from '../trade.ts';
import { presentRow, rowsOf, trades } from '../trade-change.ts';
import { tradeKey, tradesOf } from '../trade-key.ts';
import { type Accumulator, candles, sameTrade, toCandle } from './candle.ts';
import type { Rules } from './settings.ts';
import type { HeldEntry, HeldTrade } from './state.ts';
import { Symbols } from './symbols.ts';

/**
 * Folds the changes of one partition's trades into candles. A change is first validated as a whole: a dead letter changes nothing. Then it
 * is applied to all intervals at once.
 *
 * An update or a delete subtracts the row that Postgres had before. Candles hold another version only if the previous change was refused,
 * or its trade was in no candle. That version is kept until the trade's next change, and rebuilt candles use it.
 */
export class OhlcvFold implements Fold<TradeChange> {
  readonly #context: Context;
  readonly #symbols = new Symbols();
  readonly #held: Store<HeldEntry>;
  readonly #windowed: Windowed<Trade, Accumulator>;

  constructor(rules: Rules, context: Context) {
    this.#context = context;
    this.#held = context.store('held');
    this.#windowed = new Windowed(
      {
        ...rules,
        plan: (key) => rules.plan(this.#symbols.of(key).venue),
        aggregation: candles,
        emit: (emission) => this.#emit(emission),
        forgotten: (key) => this.#symbols.delete(key),
        outcome: (outcome) => this.#report(outcome),
        reading: {
          version: (record) => this.#version(record),
          held: (key) => this.#heldIn(key),
        },
      },
      context,
    );
  }

  restored(): void {
    this.#windowed.restored();
  }

  deadline(): bigint | undefined {
    return this.#windowed.deadline();
  }

  advance(): void {
    this.#windowed.advance();
  }

  gauges(): Readonly<Record<string, number>> {
    return this.#windowed.gauges();
  }

  record(record: InputRecord<TradeChange>): void {
    const { before, after } = rowsOf(record.value);
    if (before === null) this.#create(record, after);
    else if (after === null) this.#delete(record, before);
    else this.#update(record, before, after);
  }

  duplicate(record: InputRecord<TradeChange>): void {
    const { op, before, after } = record.value;
    this.#notApplied(record, readTrade(presentRow(op === 'd' ? before : after, op)), 'DUPLICATE');
  }

  backfilled(record: InputRecord<TradeChange>): void {
    const { op, before, after } = record.value;
    this.#notApplied(record, readTrade(presentRow(op === 'd' ? before : after, op)), 'SNAPSHOT');
  }

  /** An order to rebuild candles. */
  table({ value }: TableRecord): void {
    const order = value as RebuildOrder | null;
    if (order === null || order.partition !== this.#context.partition) return;
    const { venue, symbol, from_offset: from, to_offset: to, refused, windows } = order;
    this.#windowed.rebuild({
      key: this.#symbols.key(venue, symbol),
      range: { topic: trades.topic, from, to },
      refused,
      windows: windows.map(({ interval, window_start, revision }) => ({
        level: interval,
        start: Number(window_start),
        revision,
      })),
    });
  }

  #create(record: InputRecord<TradeChange>, row: TradeRow): void {
    try {
      const trade = readTrade(row);
      this.#windowed.add(this.#symbols.key(trade.venue, trade.symbol), trade, record);
    } catch (error) {
      this.#refused(row, null, error);
    }
    // The trade was refused before and is now redriven.
    if (this.#held.size > 0) this.#held.delete(keyOf(row));
  }

  #update(record: InputRecord<TradeChange>, before: TradeRow, row: TradeRow): void {
    const held = this.#heldOf(before);
    let inCandles = true;
    try {
      const after = readTrade(row);
      const key = this.#symbols.key(after.venue, after.symbol);
      const same = held !== null && sameTrade(held, after);
      if (same) this.#late(record, after, { reason: 'UPDATE', effect: 'UNCHANGED', window: null, lateness: null });
      else inCandles = this.#windowed.correct(key, { before: held, after }, record);
    } catch (error) {
      this.#refused(row, held, error);
    }
    if (inCandles) this.#held.delete(keyOf(row));
    else this.#held.set(keyOf(row), { trade: null });
  }

  #delete(record: InputRecord<TradeChange>, row: TradeRow): void {
    const held = this.#heldOf(row);
    if (held === null) this.#notApplied(record, readTrade(row), 'DELETE');
    else {
      try {
        this.#windowed.correct(this.#symbols.key(held.venue, held.symbol), { before: held, after: null }, record);
      } catch (error) {
        this.#refused(row, held, error);
      }
    }
    this.#held.delete(keyOf(row));
  }

  /** The version of the trade in the candles; null for none, also for a row that is no valid trade. */
  #heldOf(row: TradeRow): Trade | null {
    const held = this.#held.get(keyOf(row));
    if (held === undefined) return undefinedIfDeadLetter(() => readTrade(row)) ?? null;
    return held.trade === null ? null : tradeOf(row.venue, row.symbol, row.trade_id, held.trade);
  }

  /** Versions in the candles for a symbol's trades whose last change was not applied. */
  *#heldIn(key: string): IterableIterator<RecordVersion<Trade>> {
    const { venue, symbol } = this.#symbols.of(key);
    for (const [id, { trade }] of tradesOf(this.#held, key)) {
      const record = trade === null ? null : tradeOf(venue, symbol, id, trade);
      yield { key, id, record, time: trade?.time ?? 0 };
    }
  }

  /** Keeps the version in the candles when the change becomes a dead letter. @throws the error */
  #refused(row: TradeRow, held: Trade | null, error: unknown): never {
    if (error instanceof MillraceError && error.disposition === 'deadLetter') {
      this.#held.set(keyOf(row), { trade: held });
    }
    throw error;
  }

  /** Content of a change for a second read; undefined for a bad record, which changed nothing. */
  #version({ value }: InputRecord<TradeChange>): RecordVersion<Trade> | undefined {
    return undefinedIfDeadLetter(() => {
      const { before, after } = rowsOf(value);
      const { venue, symbol, trade_id: id } = before === null ? after : before;
      const trade = after === null ? null : readTrade(after);
      return { key: this.#symbols.key(venue, symbol), id, record: trade, time: trade?.time ?? 0 };
    });
  }

  #emit(emission: Emission<Accumulator>): void {
    const { venue, symbol } = this.#symbols.of(emission.key);
    const value = toCandle(venue, symbol, emission, this.#context.processor.version);
    const key: CandleKey = { venue, symbol, interval: value.interval, window_start: value.window_start };
    this.#context.emit('market.candles', key, value);
  }

  #report({ at, record, reason, effect, level, start, lateness }: WindowOutcome<Trade>): void {
    const why = reason === 'OUTSIDE' ? 'OUTSIDE_SESSION' : reason;
    const outcome = { reason: why, effect, window: { name: level, start }, lateness } as const;
    this.#late(at as InputRecord<TradeChange>, record, outcome);
  }

  #notApplied(record: InputRecord<TradeChange>, trade: Trade, reason: LateOutcome['reason']): void {
    this.#late(record, trade, { reason, effect: 'NOT_APPLIED', window: null, lateness: null });
  }

  #late(record: InputRecord<TradeChange>, trade: Trade, outcome: LateOutcome): void {
    const key: TradeKey = { venue: trade.venue, symbol: trade.symbol };
    this.#context.emit('ohlcv.late', key, lateTrade(record, trade, outcome));
  }
}

function keyOf({ venue, symbol, trade_id }: TradeRow): string {
  return tradeKey(venue, symbol, trade_id);
}

function tradeOf(venue: string, symbol: string, id: string, held: HeldTrade): Trade {
  return { venue, symbol, id, ...held, notional: held.price * held.size };
}
