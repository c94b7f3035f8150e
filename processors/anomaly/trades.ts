import { MillraceError } from '../../core/base/errors.ts';
import type { Context, InputRecord, Store } from '../../core/processor/define.ts';
import { KeyedPattern } from '../../core/processor/pattern/keyed.ts';
import type { PatternOutcome, PatternState } from '../../core/processor/pattern/pattern.ts';
import { DAY, floorTo, parseTimestamp } from '../../core/values/time.ts';
import type { Severity } from '../../schemas/gen/anomaly.ts';
import type { AnomalyKey } from '../../schemas/gen/anomaly_key.ts';
import type { RuleBook } from './book.ts';
import type { Anomalies, Facts } from './life.ts';
import { type Active, concerns, type SequenceGap, type StaleFeed } from './rules/rule.ts';
import { gapDetails, missingCount, takeNumber } from './rules/sequence-gap.ts';
import { staleDetails, stalePattern } from './rules/stale-feed.ts';
import type { Details } from './rules/verdict.ts';
import {
  feedStore,
  type Gap,
  type SeenTrade,
  type Sequence,
  type Stall,
  sequenceStore,
  stallStore,
  watchStore,
} from './state.ts';
import type { TradeNews } from './trade-schema.ts';

export const tradesTopic = 'cdc.public.trades';

interface Watch {
  readonly active: Active<StaleFeed>;
  readonly pattern: KeyedPattern<SeenTrade>;
}

/**
 * The rules on trades. Only created trades count. A correction or delete does not prove that the feed is alive, and snapshot rows are not
 * in the venue's order.
 */
export class TradeWatch {
  readonly #book: RuleBook;
  readonly #anomalies: Anomalies;
  readonly #feeds: Store<SeenTrade>;
  readonly #states: Store<PatternState<SeenTrade>>;
  readonly #stalls: Store<Stall>;
  readonly #sequences: Store<Sequence>;
  /** Ids of rules with a reported silence, by the symbol's key. Removed rules are included. */
  readonly #silences = new Map<string, Set<string>>();
  #watches: Watch[] = [];
  #gaps: Active<SequenceGap>[] = [];

  constructor(context: Context, book: RuleBook, anomalies: Anomalies) {
    this.#book = book;
    this.#anomalies = anomalies;
    this.#feeds = context.store(feedStore.name);
    this.#states = context.store(watchStore.name);
    this.#stalls = context.store(stallStore.name);
    this.#sequences = context.store(sequenceStore.name);
  }

  get stalled(): number {
    return this.#stalls.size;
  }

  restored(): void {
    for (const [each] of this.#stalls.entries()) {
      const at = each.indexOf('/');
      this.#noteSilence(each.slice(0, at), each.slice(at + 1));
    }
    this.#rebuild();
  }

  /**
   * Called when a rule was changed, added or removed. Its watch state is deleted, and its published anomalies stay. A new watch begins with
   * the newest trade.
   */
  changed(id: string): void {
    const prefix = watchKey(id, '');
    for (const store of [this.#states, this.#sequences]) {
      for (const [key] of [...store.entries()]) if (key.startsWith(prefix)) store.delete(key);
    }
    this.#rebuild();
    const watch = this.#watches.find(({ active }) => active.rule.id === id);
    if (watch === undefined) return;
    for (const [key, trade] of this.#feeds.entries()) this.#offer(watch, key, trade);
  }

  record({ value: { op, after }, logTime, offset }: InputRecord<TradeNews>): void {
    if (op !== 'c') return;
    if (after === null) throw new MillraceError('BAD_RECORD', 'a created trade without its row');
    const { venue, symbol, trade_id: id, venue_sequence: number } = after;
    const trade = { venue, symbol, id, event_time: parseTimestamp(after.executed_at), log_time: logTime, offset };
    this.advance(logTime);
    const key = JSON.stringify([venue, symbol]);
    this.#feeds.set(key, trade);
    this.#resume(key, trade);
    for (const watch of this.#watches) this.#offer(watch, key, trade);
    if (number === null) return;
    for (const gaps of this.#gaps) this.#count(gaps, key, number, trade);
  }

  deadline(): bigint | undefined {
    let first: bigint | undefined;
    for (const { pattern } of this.#watches) {
      const due = pattern.deadline();
      if (due !== undefined && (first === undefined || due < first)) first = due;
    }
    return first;
  }

  /** Called when all trades up to `logTime` were read. */
  advance(logTime: bigint): void {
    for (const { active, pattern } of this.#watches) {
      pattern.advance(logTime, (key, outcome) => this.#silent(active, key, outcome));
    }
  }

  #rebuild(): void {
    this.#watches = [];
    this.#gaps = [];
    for (const active of this.#book.onTrades()) this.#add(active);
  }

  #noteSilence(id: string, key: string): void {
    const ids = this.#silences.get(key);
    if (ids === undefined) this.#silences.set(key, new Set([id]));
    else ids.add(id);
  }

  #add(active: Active<StaleFeed | SequenceGap>): void {
    if (isGap(active)) {
      this.#gaps.push(active);
      return;
    }
    if (!isStale(active)) return;
    const pattern = new KeyedPattern(stalePattern(active.rule), within(this.#states, watchKey(active.rule.id, '')));
    pattern.restored();
    this.#watches.push({ active, pattern });
  }

  #offer({ active, pattern }: Watch, key: string, trade: SeenTrade): void {
    if (!concerns(active.rule, trade)) return;
    const event = { id: trade.id, time: trade.log_time, value: trade };
    for (const outcome of pattern.offer(key, event)) {
      // Commit times of adjacent trades can be a few microseconds out of order; such a trade counts as a sign of life too.
      if (outcome.kind === 'late') pattern.offer(key, { ...event, time: outcome.time });
      else this.#silent(active, key, outcome);
    }
  }

  #silent({ rule, version }: Active<StaleFeed>, key: string, outcome: PatternOutcome<SeenTrade>): void {
    const last = outcome.kind === 'match' ? outcome.matched('last trade')[0]?.value : undefined;
    if (last === undefined) return;
    const stall: Stall = { version, severity: rule.severity, after: rule.after, last };
    this.#stalls.set(watchKey(rule.id, key), stall);
    this.#noteSilence(rule.id, key);
    this.#saySilence(rule.id, stall, true);
  }

  /** A trade ends a reported silence. If its log time shows that there was no silence, the anomaly is retracted. */
  #resume(key: string, trade: SeenTrade): void {
    const ids = this.#silences.get(key);
    if (ids === undefined) return;
    this.#silences.delete(key);
    for (const id of [...ids].sort()) {
      const stall = this.#stalls.get(watchKey(id, key));
      if (stall === undefined) continue;
      const anomaly = this.#saySilence(id, stall, trade.log_time - stall.last.log_time >= stall.after, trade);
      this.#anomalies.forget(anomaly);
      this.#stalls.delete(watchKey(id, key));
    }
  }

  #saySilence(id: string, stall: Stall, fires: boolean, next?: SeenTrade): AnomalyKey {
    const key = keyOf(id, 'stale_feed', stall.last);
    const causes = next === undefined ? [stall.last] : [stall.last, next];
    this.#anomalies.settle(key, fires, () => facts(key, stall, causes, staleDetails(stall, next)));
    return key;
  }

  #count(active: Active<SequenceGap>, symbolKey: string, number: bigint, trade: SeenTrade): void {
    const { rule } = active;
    if (!concerns(rule, trade)) return;
    const key = watchKey(rule.id, symbolKey);
    const before = this.#sequences.get(key);
    const day = Number(floorTo(trade.event_time, DAY) / DAY);
    const { sequence, opened, changed, dropped } = takeNumber(active, before, number, day, trade);
    if (sequence !== before) this.#sequences.set(key, sequence);
    const said = opened ?? changed;
    if (said !== undefined)
      this.#sayGap(rule.id, said, changed === undefined ? [said.before, said.after] : [said.before, said.after, trade]);
    for (const gap of dropped) this.#anomalies.forget(keyOf(rule.id, 'sequence_gap', gap.after));
  }

  #sayGap(id: string, gap: Gap, causes: readonly SeenTrade[]): void {
    const key = keyOf(id, 'sequence_gap', gap.after);
    this.#anomalies.settle(key, missingCount(gap) >= gap.least, () => facts(key, gap, causes, gapDetails(gap)));
  }
}

function isGap(active: Active<StaleFeed | SequenceGap>): active is Active<SequenceGap> {
  return active.rule.type === 'sequence_gap';
}

function isStale(active: Active<StaleFeed | SequenceGap>): active is Active<StaleFeed> {
  return active.rule.type === 'stale_feed';
}

function watchKey(rule: string, symbolKey: string): string {
  return `${rule}/${symbolKey}`;
}

function keyOf(rule: string, type: string, { venue, symbol, event_time, id }: SeenTrade): AnomalyKey {
  return { venue, symbol, interval: '', window_start: event_time, type, rule, event: id };
}

function facts(
  key: AnomalyKey,
  { version, severity }: Pick<Stall | Gap, 'version' | 'severity'>,
  causes: readonly SeenTrade[],
  details: Details,
): Facts {
  return {
    ...key,
    severity: severity as Severity,
    volume: null,
    mean_volume: null,
    volume_ratio: null,
    open: null,
    close: null,
    price_change: null,
    thresholds: null,
    candle: null,
    baseline: [],
    rule_version: version,
    explanation: details.explanation,
    figures: details.figures,
    causes: causes.map(({ offset, id }) => ({ topic: tradesTopic, offset, id })),
  };
}

/** View of the store entries with this key prefix; keys are without the prefix. */
function within<V>(store: Store<V>, prefix: string): Store<V> {
  function* own(): Generator<[string, V], undefined> {
    for (const [key, value] of store.entries()) if (key.startsWith(prefix)) yield [key.slice(prefix.length), value];
    return undefined;
  }
  return {
    get: (key) => store.get(prefix + key),
    set: (key, value) => store.set(prefix + key, value),
    delete: (key) => store.delete(prefix + key),
    entries: own,
    get size() {
      return [...own()].length;
    },
  };
}
