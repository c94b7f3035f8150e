import type { LogRecord } from '../../../core/log/log.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import type { LateTrade } from '../../../schemas/gen/late_trade.ts';
import type { View } from '../engine/scenario.ts';
import { recompute } from './recompute.ts';
import { type Decode, interpret, lengths, type Meant, type Rules } from './trades.ts';

const group = 'millrace.ohlcv';
const input = 'cdc.public.trades';
const outputs = ['market.candles', 'ohlcv.late', 'ohlcv.dead'] as const;

/**
 * Says what is wrong with candles. It knows the source's changes and shares no code with what made the candles.
 *
 * At any instant: every change below the committed offset is a dead letter, a duplicate or late exactly if it has to be, once, and nothing
 * comes from above the offset. At the end: each window's newest candle is the recount of what was applied, no candle is missing, and revisions
 * rise by one through a life that is PARTIAL, CLOSED, REVISED.
 */
export class CandlesChecker {
  readonly #rules: Rules & { readonly partitions: number; readonly partialMs: number };
  readonly #decode: Decode;
  readonly #decoded = new WeakMap<LogRecord, unknown>();
  readonly #committed = new Map<number, bigint>();
  /** By partition: the newest record of the input, and what all up to it means. What is visible of it only grows. */
  readonly #meant = new Map<number, { readonly newest: LogRecord | undefined; readonly meant: readonly Meant[] }>();

  constructor(rules: Rules & { readonly partitions: number; readonly partialMs: number }, decode: Decode) {
    this.#rules = rules;
    this.#decode = decode;
  }

  glance(view: View): string[] {
    const wrong: string[] = [];
    for (let partition = 0; partition < this.#rules.partitions; partition++) {
      const at = { topic: input, partition };
      if (view.completing(group, at)) continue;
      const committed = view.committed(group, at) ?? 0n;
      const before = this.#committed.get(partition) ?? 0n;
      if (committed < before) wrong.push(`partition ${partition}: committed ${committed} after ${before}`);
      this.#committed.set(partition, committed);
      wrong.push(...this.#instant(view, partition, committed).map((each) => `${each} (committed to ${committed})`));
    }
    return wrong;
  }

  verdict(view: View): string[] {
    const wrong = this.glance(view);
    for (let partition = 0; partition < this.#rules.partitions && wrong.length === 0; partition++) {
      wrong.push(...this.#final(view, partition));
    }
    return wrong;
  }

  /** Without PARTIAL candles, which show log time between records, all but the offsets in time of what is emitted is the input's alone. */
  lasting(view: View): ReadonlyMap<string, readonly string[]> {
    const lasting = new Map<string, string[]>();
    if (this.#rules.partialMs > 0) return lasting;
    for (let partition = 0; partition < this.#rules.partitions; partition++) {
      for (const topic of outputs) {
        for (const { key, value } of view.records(topic, partition)) {
          const of = `${topic}/${partition} ${topic === 'market.candles' ? key?.toString('hex') : ''}`;
          const values = lasting.get(of) ?? [];
          lasting.set(of, values);
          values.push(value?.toString('hex') ?? 'null');
        }
      }
    }
    return lasting;
  }

  #instant(view: View, partition: number, committed: bigint): string[] {
    const meant = this.#interpreted(view, partition);
    const below = meant.filter(({ offset }) => offset < committed);
    const expected = (of: (each: Meant) => readonly string[]): string[] => below.flatMap(of);
    const dead = this.#all<DeadLetter>(view, 'ohlcv.dead', partition).map(({ origin }) => `${origin.offset}`);
    const late = this.#all<LateTrade>(view, 'ohlcv.late', partition);
    const judged = late.filter(({ reason }) => reason === 'LATE' || reason === 'DUPLICATE').map(lateLine);
    const candles = this.#all<Candle>(view, 'market.candles', partition);
    const above = candles.find(({ provenance }) => provenance !== null && provenance.to_offset >= committed);
    return [
      ...difference(
        `dead letters of partition ${partition}`,
        dead,
        expected((each) => (each.is === 'bad' ? [`${each.offset}`] : [])),
      ),
      ...difference(
        `late trades of partition ${partition}`,
        judged,
        expected((each) => {
          if (each.is === 'duplicate') return [`${each.offset} DUPLICATE null`];
          return each.is === 'trade' ? each.late.map((interval) => `${each.offset} LATE ${interval}`) : [];
        }),
      ),
      ...difference(
        `corrections told of partition ${partition}`,
        [...new Set(late.filter(({ reason }) => reason === 'UPDATE' || reason === 'DELETE').map(originOf))],
        expected((each) => (each.is === 'correction' ? [`${each.offset}`] : [])),
      ),
      ...(above === undefined
        ? []
        : [`a candle of partition ${partition} has a trade of ${above.provenance?.to_offset}`]),
    ];
  }

  #final(view: View, partition: number): string[] {
    const meant = this.#interpreted(view, partition);
    const late = this.#all<LateTrade>(view, 'ohlcv.late', partition);
    const lives = Map.groupBy(this.#all<Candle>(view, 'market.candles', partition), nameOf);
    const wrong: string[] = [];
    for (const [name, life] of lives) wrong.push(...lifeOf(name, life));
    for (const interval of Object.keys(lengths)) {
      const refused = new Set(
        late.flatMap((each) =>
          changesNothing(each) && (each.interval === null || each.interval === interval) ? [each.origin.offset] : [],
        ),
      );
      const due = recompute(interval, meant, refused);
      for (const [name, figures] of due) {
        const last = lives.get(name)?.at(-1);
        const seen = last === undefined ? 'nothing' : figuresOf(last);
        if (seen !== figures) wrong.push(`candle ${name} is ${seen}; it should be ${figures}`);
      }
      for (const [name, life] of lives) {
        const last = life.at(-1) as Candle;
        if (last.interval === interval && !due.has(name) && last.trade_count > 0n)
          wrong.push(`candle ${name} is ${figuresOf(last)}; it should have no trade`);
      }
    }
    return wrong;
  }

  #interpreted(view: View, partition: number): readonly Meant[] {
    const records = view.records(input, partition);
    const newest = records.at(-1);
    const known = this.#meant.get(partition);
    if (known !== undefined && known.newest === newest) return known.meant;
    const changes = records
      .filter(({ value }) => value !== null)
      .map((record) => ({ offset: record.offset, change: this.#read(record) }));
    const meant = interpret(changes, this.#rules);
    this.#meant.set(partition, { newest, meant });
    return meant;
  }

  #all<T>(view: View, topic: string, partition: number): T[] {
    return view.records(topic, partition).map((record) => this.#read(record) as T);
  }

  /** Undefined for what cannot be decoded. */
  #read(record: LogRecord): unknown {
    if (this.#decoded.has(record)) return this.#decoded.get(record);
    let decoded: unknown;
    try {
      decoded = this.#decode(record.value as Buffer);
    } catch {
      decoded = undefined;
    }
    this.#decoded.set(record, decoded);
    return decoded;
  }
}

function lateLine({ origin, reason, interval }: LateTrade): string {
  return `${origin.offset} ${reason} ${interval}`;
}

function originOf({ origin }: LateTrade): string {
  return `${origin.offset}`;
}

function nameOf({ symbol, interval, window_start }: Candle): string {
  return `${symbol} ${interval} ${window_start}`;
}

function figuresOf(candle: Candle): string {
  const { open, high, low, close, vwap, volume, notional, trade_count, first_trade_id, last_trade_id } = candle;
  const { open_time, high_time, low_time, close_time } = candle;
  return [
    ...[open, high, low, close, vwap, volume, notional, trade_count, first_trade_id, last_trade_id],
    ...[open_time, high_time, low_time, close_time],
  ].join(' ');
}

/** Revisions that rise by one from 1; PARTIAL, then CLOSED at most once, then REVISED: also at first, for a window that had closed empty. */
function lifeOf(name: string, life: readonly Candle[]): string[] {
  const told = life.map(({ status, revision }) => `${status}#${revision}`).join(' ');
  const statuses = life.map(({ status }) => status).join(' ');
  const right = /^(PARTIAL )*CLOSED( REVISED)*$|^REVISED( REVISED)*$/.test(statuses);
  return right && life.every(({ revision }, at) => revision === at + 1) ? [] : [`candle ${name} has the life ${told}`];
}

function difference(what: string, seen: readonly string[], expected: readonly string[]): string[] {
  const length = Math.max(seen.length, expected.length);
  for (let at = 0; at < length; at++) {
    if (seen[at] !== expected[at])
      return [
        `${what}: number ${at} of ${seen.length} is ${seen[at]}; of ${expected.length} it should be ${expected[at]}`,
      ];
  }
  return [];
}

/** An update without a difference is told of no interval: where an earlier one was not applied, it must not be taken for that one. */
function changesNothing({ effect }: LateTrade): boolean {
  return effect === 'NOT_APPLIED' || effect === 'UNCHANGED';
}
