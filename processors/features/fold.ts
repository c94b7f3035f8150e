import { MillraceError, undefinedIfDeadLetter } from '../../core/base/errors.ts';
import type { Context, Fold, InputRecord, Store } from '../../core/processor/define.ts';
import { type StoredVersion, VersionedStore, type VersionedValue } from '../../core/processor/joins/versioned-store.ts';
import {
  changeWatermarkDelay,
  dueAt,
  micros,
  observe,
  startProgress,
  watermarkAt,
} from '../../core/processor/watermark.ts';
import type { RecordVersion as TradeVersion } from '../../core/processor/windows/revisions/latest-versions.ts';
import { RereadCache } from '../../core/processor/windows/revisions/reread-cache.ts';
import { floor } from '../../core/processor/windows/windows.ts';
import type { Features } from '../../schemas/gen/features.ts';
import type { FeaturesKey } from '../../schemas/gen/features_key.ts';
import type { LateEffect } from '../../schemas/gen/late_trade.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import type { TradeKey } from '../../schemas/gen/trade_key.ts';
import { type LateOutcome, lateTrade } from '../late-trade.ts';
import type { Trade } from '../trade.ts';
import { readSymbolKey, symbolKey, tradeKey, tradesOf } from '../trade-key.ts';
import { addTrade, type Bar, barOf, rebuilt, subtractTrade } from './bar.ts';
import { type ParsedChange, readChange } from './parsed-change.ts';
import { figuresAt } from './rolling.ts';
import type { Rules } from './settings.ts';
import {
  barStore,
  NEVER,
  type Shape,
  type SymbolEntry,
  type SymbolState,
  shapeKey,
  shapeStore,
  symbolStore,
} from './state.ts';

type TradeRecord = InputRecord<TradeChange>;

/**
 * Folds the trades of one partition into rows of features. Trades are aggregated into bars, one per step. A row is computed from bars when
 * its symbol's watermark reaches its instant. Due rows are computed before a later trade joins its bar, so no bar that they need is deleted
 * too early.
 */
export class FeaturesFold implements Fold<TradeChange> {
  readonly #rules: Rules;
  readonly #context: Context<TradeChange>;
  readonly #states: Store<SymbolState>;
  readonly #refused: Store<{ readonly at: number }>;
  readonly #bars: VersionedStore<Bar>;
  readonly #rereads: RereadCache<Trade>;
  /** Each symbol with a next row has a timer for the log time at which the row is due. */
  readonly #symbols = new Map<string, SymbolEntry>();

  constructor(rules: Rules, context: Context<TradeChange>) {
    const { longest, watermarkDelay, step } = rules;
    this.#rules = rules;
    this.#context = context;
    this.#states = context.store(symbolStore.name);
    this.#refused = context.store('refused');
    // An open row is at most the watermark delay behind the newest trade. It reads back over its windows and one bar more.
    this.#rereads = new RereadCache(context as Context, {
      version: (record) => this.#version(record),
      held: (key) => this.#notHeld(key),
    });
    this.#bars = new VersionedStore(context.store<StoredVersion<Bar>>(barStore.name), longest + watermarkDelay + step);
  }

  restored(): void {
    this.#checkShape();
    this.#bars.restored();
    const now = micros(this.#context.logTime);
    for (const [key, state] of this.#states.entries()) {
      if (changeWatermarkDelay(state, this.#rules.watermarkDelay, now)) this.#states.set(key, state);
      const [venue, name] = readSymbolKey(key);
      const symbol = { venue, symbol: name, key, state };
      this.#symbols.set(key, symbol);
      this.#schedule(symbol);
    }
  }

  record(record: TradeRecord): void {
    const { before, after } = readChange(record.value);
    if (before !== null) this.#correct(record, before, after);
    else if (after !== null && this.#takes(record, after)) {
      // The trade was refused before and is now redriven.
      if (this.#refused.size > 0) this.#refused.delete(refusedKey(after));
      const { kept, lateness, start } = this.#apply(record, after);
      if (lateness === null && kept) return;
      this.#late(record, after, { reason: 'LATE', effect: effectOf(kept), window: this.#step(start), lateness });
    }
  }

  duplicate(record: TradeRecord): void {
    this.#notNew(record, readChange(record.value), 'DUPLICATE');
  }

  backfilled(record: TradeRecord): void {
    this.#notNew(record, readChange(record.value), 'SNAPSHOT');
  }

  onTimer(key: string): void {
    const symbol = this.#symbols.get(key) as SymbolEntry;
    this.#emitUpTo(symbol, watermarkAt(symbol.state, micros(this.#context.logTime)));
    this.#save(symbol);
  }

  gauges(): Readonly<Record<string, number>> {
    return { keys: this.#symbols.size, bars: this.#bars.size };
  }

  /** Adds the trade to its bar, advances its symbol's watermark and emits the rows that are then due. */
  #apply(record: TradeRecord, trade: Trade): { kept: boolean; lateness: number | null; start: number } {
    const { step, watermarkDelay, digits } = this.#rules;
    const [now, recordLog] = [micros(this.#context.logTime), micros(record.logTime)];
    const key = symbolKey(trade.venue, trade.symbol);
    const start = floor(trade.time, step);
    const known = this.#symbols.get(key);
    const reached = known === undefined ? Number.NEGATIVE_INFINITY : watermarkAt(known.state, now);
    const symbol = known ?? this.#addSymbol(key, trade, recordLog, watermarkDelay);
    if (known !== undefined) observe(known.state, trade.time, recordLog, now);

    const limit = watermarkAt(symbol.state, now);
    this.#emitUpTo(symbol, Math.min(limit, start));
    const bar = this.#barAt(key, start)?.value;
    if (bar !== undefined) addTrade(bar, trade, record, digits);
    const kept = this.#bars.put(key, start, 0n, bar ?? barOf(trade, record, digits));
    if (kept) this.#reach(symbol, start, reached);
    this.#emitUpTo(symbol, limit);
    this.#save(symbol);
    return { kept, lateness: start + step <= reached ? reached - trade.time : null, start };
  }

  /** Removes the old version from its bar, then applies the new one. */
  #correct(record: TradeRecord, before: Trade, after: Trade | null): void {
    const { step, allowedLateness, digits } = this.#rules;
    const key = symbolKey(before.venue, before.symbol);
    const start = floor(before.time, step);
    const wasRefused = this.#refused.get(refusedKey(before)) !== undefined;
    const next = after === null || this.#takes(record, after) ? after : null;
    const finish = (changed: boolean): void => {
      const kept = next !== null && this.#apply(record, next).kept;
      const reason = after === null ? 'DELETE' : 'UPDATE';
      const effect = effectOf(changed || kept);
      this.#late(record, after ?? before, { reason, effect, window: this.#step(start), lateness: null });
    };

    const bar = this.#barAt(key, start)?.value;
    if (wasRefused || bar === undefined) {
      if (next !== null || after === null) this.#refused.delete(refusedKey(before));
      finish(false);
    } else if (micros(record.logTime) - bar.from_log > allowedLateness) {
      // The bar keeps the old version, and the bar of the new version never gets the trade.
      if (after !== null && floor(after.time, step) !== start) this.#refuse(record, after);
      const reason = after === null ? 'DELETE' : 'UPDATE';
      this.#late(record, after ?? before, { reason, effect: 'NOT_APPLIED', window: this.#step(start), lateness: null });
    } else if (bar.trade_count === 1) {
      // If the bar has one other trade, this trade was never in it.
      const inside = bar.close_id === before.id;
      if (inside) this.#bars.remove(key, start, 0n);
      finish(inside);
    } else if (subtractTrade(bar, before, record, digits)) {
      this.#bars.put(key, start, 0n, bar);
      finish(true);
    } else {
      this.#readAgain(record, before, bar, start, finish);
    }
  }

  /** Removes the last trade of a bar: the trade before it must be read from the input. */
  #readAgain(record: TradeRecord, before: Trade, bar: Bar, start: number, finish: (changed: boolean) => void): void {
    const { step, digits } = this.#rules;
    const key = symbolKey(before.venue, before.symbol);
    const holds = (time: number) => start <= time && time < start + step;
    const range = { topic: record.topic, from: bar.from_offset, to: record.offset + 1n };
    const oldest = () => this.#oldestOffset(micros(record.logTime));
    this.#rereads.ask({ ...range, key, holds, oldest }, (found) => {
      const inside = [...found.within(start, start + step, bar.from_offset)];
      const others = inside.filter(({ id }) => id !== before.id);
      const next = rebuilt(bar, others, record, digits);
      if (next === undefined) this.#bars.remove(key, start, 0n);
      else this.#bars.put(key, start, 0n, next);
      finish(true);
    });
  }

  /** First offset of the earliest bar that a correction may still change; -1 without any. */
  #oldestOffset(now: number): bigint {
    let oldest = -1n;
    for (const [, { value: bar }] of this.#context.store<StoredVersion<Bar>>(barStore.name).entries()) {
      if (now - bar.from_log > this.#rules.allowedLateness) continue;
      if (oldest < 0n || bar.from_offset < oldest) oldest = bar.from_offset;
    }
    return oldest;
  }

  /** Content of a change for a second read; undefined for a bad record, which changed nothing. */
  #version(record: TradeRecord): TradeVersion<Trade> | undefined {
    return undefinedIfDeadLetter(() => {
      const { before, after } = readChange(record.value);
      const trade = after ?? before;
      if (trade === null) return undefined;
      return { key: symbolKey(trade.venue, trade.symbol), id: trade.id, record: after, time: trade.time };
    });
  }

  /** Trades of a symbol whose last change was refused or not applied: bars do not contain them. */
  *#notHeld(key: string): IterableIterator<TradeVersion<Trade>> {
    for (const [id] of tradesOf(this.#refused, key)) yield { key, id, record: null, time: 0 };
  }

  /** False for a trade from the future. Its record becomes a dead letter, so its corrections subtract nothing. */
  #takes(record: TradeRecord, trade: Trade): boolean {
    const ahead = trade.time - micros(record.logTime) - this.#rules.maxFutureSkew;
    if (ahead <= 0) return true;
    this.#context.dead(
      new MillraceError(
        'FUTURE_EVENT_TIME',
        `trade ${trade.id}: its event time is ${ahead} µs further after its commit than maxFutureSkewMs allows`,
        { remedy: 'Correct executed_at in Postgres, or raise maxFutureSkewMs.' },
      ),
    );
    this.#refuse(record, trade);
    return false;
  }

  #refuse(record: TradeRecord, trade: Trade): void {
    this.#refused.set(refusedKey(trade), { at: micros(record.logTime) });
  }

  #barAt(key: string, start: number): VersionedValue<Bar> | undefined {
    const held = this.#bars.at(key, start);
    return held.kind === 'version' && held.version.time === start ? held.version : undefined;
  }

  /** Sets the next row after a bar got a trade: the first unpublished row with the trade in its windows. */
  #reach(symbol: SymbolEntry, start: number, reached: number): void {
    const { step, longest } = this.#rules;
    const open = reached === Number.NEGATIVE_INFINITY ? reached : floor(reached, step) + step;
    const first = Math.max(start + step, open);
    if (first <= start + longest) symbol.state.next = Math.min(symbol.state.next, first);
  }

  #emitUpTo(symbol: SymbolEntry, limit: number): void {
    const { state } = symbol;
    for (; state.next <= limit; state.next = this.#following(symbol.key, state.next)) this.#emit(symbol, state.next);
  }

  /** The next instant after `asOf` with a row: the first with a trade in its longest window. */
  #following(key: string, asOf: number): number {
    const { step, longest } = this.#rules;
    const reachable = this.#bars.next(key, asOf + step - longest - 1);
    return reachable === undefined ? NEVER : Math.max(reachable.time, asOf) + step;
  }

  #emit({ venue, symbol, key }: SymbolEntry, asOf: number): void {
    const figures = figuresAt(this.#bars, key, asOf, this.#rules);
    // Only if the last trade within the windows was deleted since.
    if (figures === undefined) return;
    const { from_offset, to_offset, to_lsn, ...rest } = figures;
    const row: FeaturesKey = { venue, symbol, feature_set: this.#rules.set, as_of: BigInt(asOf) };
    const provenance = { processor_version: this.#context.processor.version, from_offset, to_offset, to_lsn };
    this.#context.emit('market.features', row, { ...row, ...rest, provenance } satisfies Features);
  }

  #notNew(record: TradeRecord, { before, after }: ParsedChange, reason: 'SNAPSHOT' | 'DUPLICATE'): void {
    const trade = after ?? before;
    if (trade !== null) this.#late(record, trade, { reason, effect: 'NOT_APPLIED', window: null, lateness: null });
  }

  #late(record: TradeRecord, trade: Trade, outcome: LateOutcome): void {
    const key: TradeKey = { venue: trade.venue, symbol: trade.symbol };
    this.#context.emit('features.late', key, lateTrade(record, trade, outcome));
  }

  #step(start: number): LateOutcome['window'] {
    return { name: this.#rules.stepName, start };
  }

  #addSymbol(key: string, { venue, symbol, time }: Trade, recordLog: number, watermarkDelay: number): SymbolEntry {
    const entry = { venue, symbol, key, state: { ...startProgress(time, recordLog, watermarkDelay), next: NEVER } };
    this.#symbols.set(key, entry);
    return entry;
  }

  #save(symbol: SymbolEntry): void {
    this.#states.set(symbol.key, symbol.state);
    this.#schedule(symbol);
  }

  #schedule({ key, state }: SymbolEntry): void {
    const { timers } = this.#context;
    if (state.next === NEVER) timers.delete(key);
    else timers.set(key, BigInt(dueAt(state, state.next)));
  }

  /** @throws MillraceError CONFIG_INVALID: the bars were made with other settings, so old and new rows would differ in meaning. */
  #checkShape(): void {
    const { step, longest, digits, set } = this.#rules;
    const shapes = this.#context.store<Shape>(shapeStore.name);
    const known = shapes.get(shapeKey);
    if (known?.step === step && known.longest === longest && known.digits === digits) return;
    if (known !== undefined && (known.step !== step || known.digits !== digits || known.longest < longest)) {
      throw new MillraceError(
        'CONFIG_INVALID',
        `features: the state of set ${set} was made with a step of ${known.step} µs, windows of up to ${known.longest} µs and ${known.digits} digits`,
        { remedy: 'Go back to those settings, or delete the changelog and start with another set name.' },
      );
    }
    shapes.set(shapeKey, { step, longest, digits });
  }
}

function effectOf(changed: boolean): LateEffect {
  return changed ? 'APPLIED' : 'NOT_APPLIED';
}

function refusedKey({ venue, symbol, id }: Trade): string {
  return tradeKey(venue, symbol, id);
}
