import { MillraceError } from '../../core/errors.ts';
import type { Context, Fold, InputRecord, Store } from '../../core/processor/define.ts';
import { Heap } from '../../core/processor/heap.ts';
import {
  changeLateness,
  dueAt,
  micros,
  observe,
  type Progress,
  startProgress,
  watermarkAt,
} from '../../core/processor/watermark.ts';
import { toInterval, windowStart } from '../../core/processor/window.ts';
import type { CandleReason, CandleStatus } from '../../schemas/gen/candle.ts';
import type { CandleKey } from '../../schemas/gen/candle_key.ts';
import type { LateReason } from '../../schemas/gen/late_trade.ts';
import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';
import type { TradeKey } from '../../schemas/gen/trade_key.ts';
import { type Accumulator, add, candle, fits, openWith } from './candle.ts';
import { lateTrade, type Missed } from './late.ts';
import type { Rules } from './settings.ts';
import { readSymbolKey, readWindowKey, symbolKey, symbolStore, windowKey, windowStore } from './state.ts';
import { type OpenWindow, SymbolState, Symbols } from './symbol.ts';
import { readTrade, type Trade } from './trade.ts';

/**
 * Folds the trades of one partition into candles. A record is first judged as a whole (a dead letter changes nothing), then joins its
 * windows or the late topic, and only then moves its symbol's watermark: no trade is late because of itself.
 *
 * Updates and deletes change no candle: they are in the late topic as not applied.
 */
export class OhlcvFold implements Fold<TradeChange> {
  readonly #rules: Rules;
  readonly #context: Context;
  readonly #progress: Store<Progress>;
  readonly #windows: Store<Accumulator>;
  readonly #symbols = new Symbols();
  /** Symbols with open windows, by the log time at which the first of them closes. */
  readonly #due = new Heap<SymbolState>();
  /** Windows with a trade that no PARTIAL has shown. They are all due at the same time: cadence is a grid in log time. */
  readonly #changed = new Set<OpenWindow>();
  #partialDue = Number.POSITIVE_INFINITY;
  #openWindows = 0;
  /** The window of each interval that the current trade belongs to, if it is open. Reused: a trade allocates no list. */
  readonly #found: (OpenWindow | undefined)[];
  #deadline = Number.POSITIVE_INFINITY;
  #deadlineMicros: bigint | undefined;

  constructor(rules: Rules, context: Context) {
    this.#rules = rules;
    this.#context = context;
    this.#progress = context.store(symbolStore.name);
    this.#windows = context.store(windowStore.name);
    this.#found = rules.intervals.map(() => undefined);
  }

  restored(): void {
    const now = micros(this.#context.logTime);
    for (const [key, progress] of this.#progress.entries()) {
      const [venue, symbol] = readSymbolKey(key);
      if (changeLateness(progress, this.#rules.lateness, now)) this.#progress.set(key, progress);
      this.#symbols.add(new SymbolState(venue, symbol, key, progress, this.#rules.intervals));
    }
    for (const [key, state] of this.#windows.entries()) {
      const [venue, symbol, interval, start] = readWindowKey(key);
      const owner = this.#symbols.get(venue, symbol);
      if (owner === undefined) throw new MillraceError('STATE_CORRUPT', `window ${key} has no symbol`);
      const window = this.#open(owner, key, interval, start, toInterval(interval).micros, state);
      if (this.#rules.partial > 0 && state.partial_due > 0) this.#markChanged(window, state.partial_due);
    }
    for (const symbol of this.#symbols.values()) this.#schedule(symbol);
  }

  record(record: InputRecord<TradeChange>): void {
    const { op, before, after, source } = record.value;
    try {
      if (op === 'c' || (op === 'r' && source.snapshot !== 'incremental')) {
        this.#apply(record, readTrade(present(after, op)));
      } else {
        const reason = reasonFor(op);
        this.#late(record, readTrade(present(op === 'd' ? before : after, op)), reason, null);
      }
    } catch (error) {
      this.#refuse(error);
    }
  }

  duplicate(record: InputRecord<TradeChange>): void {
    const { op, before, after } = record.value;
    try {
      this.#late(record, readTrade(present(op === 'd' ? before : after, op)), 'DUPLICATE', null);
    } catch (error) {
      this.#refuse(error);
    }
  }

  deadline(): bigint | undefined {
    const next = Math.min(this.#due.first()?.due ?? Number.POSITIVE_INFINITY, this.#partialDue);
    if (next !== this.#deadline) {
      this.#deadline = next;
      this.#deadlineMicros = next === Number.POSITIVE_INFINITY ? undefined : BigInt(next);
    }
    return this.#deadlineMicros;
  }

  advance(): void {
    const now = micros(this.#context.logTime);
    for (let symbol = this.#due.first(); symbol !== undefined && symbol.due <= now; symbol = this.#due.first()) {
      this.#close(symbol, now);
    }
    if (this.#partialDue <= now) this.#emitPartials();
  }

  gauges(): Readonly<Record<string, number>> {
    const now = micros(this.#context.logTime);
    let slowest = Number.POSITIVE_INFINITY;
    let fastest = Number.NEGATIVE_INFINITY;
    for (const symbol of this.#symbols.values()) {
      const reached = watermarkAt(symbol.progress, now);
      if (reached < slowest) slowest = reached;
      if (reached > fastest) fastest = reached;
    }
    const counts = { keys: this.#symbols.size, open_windows: this.#openWindows };
    return this.#symbols.size === 0 ? counts : { ...counts, watermark_min_us: slowest, watermark_max_us: fastest };
  }

  /** A record that is bad by itself becomes a dead letter. Nothing has been changed when such an error is thrown. */
  #refuse(error: unknown): void {
    if (error instanceof MillraceError && error.disposition === 'deadLetter') this.#context.dead(error);
    else throw error;
  }

  #apply(record: InputRecord<TradeChange>, trade: Trade): void {
    const { intervals, lateness } = this.#rules;
    const recordLog = micros(record.logTime);
    this.#refuseFuture(trade, recordLog);
    const now = micros(this.#context.logTime);
    const known = this.#symbols.get(trade.venue, trade.symbol);
    const reached = known === undefined ? Number.NEGATIVE_INFINITY : watermarkAt(known.progress, now);
    for (let at = 0; at < intervals.length; at++) {
      const lane = known?.lanes[at];
      const window = lane?.get(windowStart(trade.time, lane.interval.micros));
      if (!fits(window?.state, trade)) throw tooLarge(trade);
      this.#found[at] = window;
    }

    // From here on nothing throws: the trade is taken.
    const symbol = known ?? this.#addSymbol(trade, startProgress(trade.time, recordLog, lateness));
    for (let at = 0; at < intervals.length; at++) {
      const interval = intervals[at] as (typeof intervals)[number];
      const start = windowStart(trade.time, interval.micros);
      if (start + interval.micros <= reached) {
        this.#late(record, trade, 'LATE', { interval: interval.name, start, lateness: reached - trade.time });
        continue;
      }
      let window = this.#found[at];
      if (window === undefined) {
        const key = windowKey(trade.venue, trade.symbol, interval.name, start);
        window = this.#open(symbol, key, interval.name, start, interval.micros, openWith(trade, record));
      } else {
        add(window.state, trade, record);
      }
      this.#touch(window, now);
      this.#windows.set(window.key, window.state);
    }
    if (known === undefined || observe(symbol.progress, trade.time, recordLog, now)) {
      this.#progress.set(symbol.tie, symbol.progress);
    }
    this.#close(symbol, now);
  }

  #refuseFuture(trade: Trade, recordLog: number): void {
    const ahead = trade.time - recordLog;
    if (ahead <= this.#rules.maxFutureSkew) return;
    throw new MillraceError(
      'FUTURE_EVENT_TIME',
      `trade ${trade.id}: its event time is ${ahead} µs after its commit; ${this.#rules.maxFutureSkew} µs are allowed`,
      { remedy: 'Correct executed_at in Postgres, or raise maxFutureSkewMs.' },
    );
  }

  #late(record: InputRecord<TradeChange>, trade: Trade, reason: LateReason, missed: Missed | null): void {
    const key: TradeKey = { venue: trade.venue, symbol: trade.symbol };
    this.#context.emit('ohlcv.late', key, lateTrade(record, trade, reason, missed));
  }

  #addSymbol(trade: Trade, progress: Progress): SymbolState {
    const key = symbolKey(trade.venue, trade.symbol);
    const symbol = new SymbolState(trade.venue, trade.symbol, key, progress, this.#rules.intervals);
    this.#symbols.add(symbol);
    return symbol;
  }

  #open(
    owner: SymbolState,
    key: string,
    interval: string,
    start: number,
    size: number,
    state: Accumulator,
  ): OpenWindow {
    const { venue, symbol } = owner;
    const window = { venue, symbol, interval, start, end: start + size, key, state, due: 0, tie: size, slot: -1 };
    owner.add(window);
    this.#openWindows += 1;
    return window;
  }

  /** Closes the symbol's windows that end at or before its watermark, earliest first, and schedules the next one. */
  #close(symbol: SymbolState, now: number): void {
    const reached = watermarkAt(symbol.progress, now);
    for (let next = symbol.open.first(); next !== undefined && next.end <= reached; next = symbol.open.first()) {
      this.#emit(next, 'CLOSED', 'WATERMARK');
      symbol.delete(next);
      this.#openWindows -= 1;
      this.#windows.delete(next.key);
      if (this.#changed.delete(next) && this.#changed.size === 0) this.#partialDue = Number.POSITIVE_INFINITY;
    }
    this.#schedule(symbol);
  }

  #schedule(symbol: SymbolState): void {
    const next = symbol.open.first();
    if (next === undefined) this.#due.delete(symbol);
    else this.#due.set(symbol, dueAt(symbol.progress, next.end));
  }

  #touch(window: OpenWindow, now: number): void {
    const { partial } = this.#rules;
    if (partial === 0 || window.state.partial_due > 0) return;
    window.state.partial_due = windowStart(now, partial) + partial;
    this.#markChanged(window, window.state.partial_due);
  }

  #markChanged(window: OpenWindow, due: number): void {
    this.#changed.add(window);
    this.#partialDue = Math.min(this.#partialDue, due);
  }

  #emitPartials(): void {
    const windows = [...this.#changed].sort(byPlace);
    this.#changed.clear();
    this.#partialDue = Number.POSITIVE_INFINITY;
    for (const window of windows) {
      window.state.partial_due = 0;
      this.#emit(window, 'PARTIAL', 'CADENCE');
      this.#windows.set(window.key, window.state);
    }
  }

  #emit(window: OpenWindow, status: CandleStatus, reason: CandleReason): void {
    const { venue, symbol, interval, state } = window;
    state.revision += 1;
    const value = candle(window, state, status, reason, this.#context.processor.version);
    const key: CandleKey = { venue, symbol, interval, window_start: value.window_start };
    this.#context.emit('market.candles', key, value);
  }
}

/** Shortest interval first, then by key. */
function byPlace(a: OpenWindow, b: OpenWindow): number {
  if (a.tie !== b.tie) return a.tie < b.tie ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}

/** Why a change that is no new trade is in the late topic. @throws MillraceError BAD_RECORD when it cannot be there either. */
function reasonFor(op: string): LateReason {
  switch (op) {
    case 'r':
      return 'SNAPSHOT';
    case 'u':
      return 'UPDATE';
    case 'd':
      return 'DELETE';
    case 't':
      throw new MillraceError(
        'BAD_RECORD',
        'the trades table was truncated: that names no trade, so no candle changes',
        {
          remedy: 'Delete rows instead of truncating, or rebuild the candles from the table.',
        },
      );
    default:
      throw new MillraceError('BAD_RECORD', `a change of an unknown kind: op ${JSON.stringify(op)}`);
  }
}

function present(row: TradeRow | null, op: string): TradeRow {
  if (row !== null) return row;
  if (op === 't') reasonFor(op);
  throw new MillraceError('BAD_RECORD', `a change without its row: op ${JSON.stringify(op)}`, {
    remedy: 'The table needs REPLICA IDENTITY FULL.',
  });
}

function tooLarge(trade: Trade): MillraceError {
  return new MillraceError(
    'BAD_RECORD',
    `trade ${trade.id}: with it, the notional of its candle exceeds DECIMAL(38,16)`,
  );
}
