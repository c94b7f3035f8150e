import { MillraceError } from '../../base/errors.ts';
import { type WatermarkDelay, windowOptions } from '../../base/renames.ts';
import type { Context, InputRecord, Store, StoreDefinition } from '../define.ts';
import { Heap, type HeapEntry } from '../heap.ts';
import { TimerQueue } from '../timer-queue.ts';
import {
  changeWatermarkDelay,
  dueAt,
  forgetAfter,
  forgottenAt,
  micros,
  observe,
  type Progress,
  startProgress,
  watermarkAt,
} from '../watermark.ts';
import { type Aggregation, cover, extend, nowhere, type Span } from './aggregation.ts';
import type { Window } from './windows.ts';

/** A closed session: the records of one key that were less than the gap apart. Nothing of it may be kept or changed. */
export interface Session<A> extends Window {
  readonly key: string;
  readonly value: A;
  readonly span: Readonly<Span>;
}

interface Options<R, A> {
  /** How long nothing has to happen for a session to end, microseconds. A session ends that long after its last record. */
  readonly gap: number;
  readonly aggregation: Aggregation<R, A>;
  /** How far a record may be behind its key's greatest event time and not be late, microseconds. */
  readonly watermarkDelay: number;
  /** How far an event time may exceed the log time of its own record, microseconds. */
  readonly maxFutureSkew: number;
  readonly emit: (session: Session<A>) => void;
  /** A record whose session would have closed already. @param lateness watermark minus event time, microseconds. */
  readonly late: (key: string, record: R, lateness: number, at: InputRecord<unknown>) => void;
  /** Log time since its newest record after which a key without sessions is forgotten, microseconds. Default `forgetAfter`; infinite for never. */
  readonly forget?: number;
}

/** What sessions are made of, and where they go. */
export type SessionsOptions<R, A> = Omit<Options<R, A>, 'watermarkDelay'> & WatermarkDelay;

interface SessionState<A> extends Span {
  end: number;
  value: A;
}

/** Due when it ends. */
interface Open<A> extends HeapEntry {
  readonly start: number;
  readonly state: SessionState<A>;
}

interface Key<A> {
  readonly key: string;
  readonly progress: Progress;
  /** They do not touch each other. By their ends in event time: the watermark of the key reaches those, log time does not. */
  readonly open: Heap<Open<A>>;
}

/** The window of a record on its own: half open, from its event time on. Sessions are made by merging those that overlap. */
export function sessionOf(time: number, gap: number): Window {
  return { start: time, end: time + gap };
}

/** The stores that sessions need: part of the processor's declaration. */
export function sessionStores<R, A>(aggregation: Aggregation<R, A>): StoreDefinition[] {
  const double = (name: string) => ({ name, type: 'double' });
  return [
    {
      name: 'session-keys',
      schema: {
        type: 'record',
        name: 'SessionKey',
        namespace: 'millrace.windows',
        fields: ['max_event', 'max_log', 'floor', 'lateness'].map(double),
      },
    },
    {
      name: 'sessions',
      schema: {
        type: 'record',
        name: 'OpenSession',
        namespace: 'millrace.windows',
        fields: [
          double('end'),
          { name: 'from_offset', type: 'long' },
          { name: 'to_offset', type: 'long' },
          { name: 'from_lsn', type: 'long' },
          { name: 'to_lsn', type: 'long' },
          { name: 'value', type: aggregation.schema },
        ],
      },
    },
  ];
}

/**
 * Aggregates records by key and session: windows that end when nothing has happened for a while, and grow together when a record comes between
 * two of them. In any order within the watermark delay the sessions are the same.
 *
 * A session is emitted once, when its key's watermark reaches its end, and is not revised after that: where it begins and ends would change with it,
 * and so would what it is known by. A record that comes too late for every open session is late.
 *
 * A key without open sessions keeps its watermark for `forget` of log time; then it is forgotten, and begins anew with its next record.
 */
export class Sessions<R, A> {
  readonly #options: Options<R, A>;
  readonly #context: Context;
  readonly #progress: Store<Progress>;
  readonly #sessions: Store<SessionState<A>>;
  readonly #keys = new Map<string, Key<A>>();
  /** When a key's first session closes, or the key is forgotten: log time. */
  readonly #due = new TimerQueue();

  /** @throws MillraceError CONFIG_INVALID: an option is given under its former name, too. */
  constructor(options: SessionsOptions<R, A>, context: Context) {
    this.#options = windowOptions<Options<R, A>>(options);
    this.#context = context;
    this.#progress = context.store('session-keys');
    this.#sessions = context.store('sessions');
  }

  restored(): void {
    const now = micros(this.#context.logTime);
    for (const [key, progress] of this.#progress.entries()) {
      if (changeWatermarkDelay(progress, this.#options.watermarkDelay, now)) this.#progress.set(key, progress);
      this.#start(key, progress);
    }
    for (const [text, state] of this.#sessions.entries()) {
      const space = text.indexOf(' ');
      const owner = this.#keys.get(text.slice(space + 1));
      if (owner === undefined) throw new MillraceError('STATE_CORRUPT', `session ${text} has no key`);
      this.#open(owner, Number(text.slice(0, space)), state);
    }
    for (const owner of this.#keys.values()) this.#schedule(owner);
  }

  deadline(): bigint | undefined {
    const first = this.#due.first();
    return first === Number.POSITIVE_INFINITY ? undefined : BigInt(first);
  }

  advance(): void {
    const now = micros(this.#context.logTime);
    for (let due = this.#due.take(now); due !== undefined; due = this.#due.take(now)) {
      const owner = this.#keys.get(due.tie) as Key<A>;
      if (owner.open.size === 0) this.#drop(owner);
      else this.#settle(owner, now);
    }
  }

  /** The key is as if it had never been seen. */
  #drop({ key }: Key<A>): void {
    this.#keys.delete(key);
    this.#progress.delete(key);
  }

  /** @throws MillraceError FUTURE_EVENT_TIME or BAD_RECORD, before anything has changed. */
  add(key: string, record: R, at: InputRecord<unknown>): void {
    const { aggregation, gap, watermarkDelay, maxFutureSkew } = this.#options;
    const time = aggregation.time(record);
    const recordLog = micros(at.logTime);
    if (time - recordLog > maxFutureSkew) {
      throw new MillraceError('FUTURE_EVENT_TIME', `the event time is ${time - recordLog} µs after its commit`);
    }
    const now = micros(this.#context.logTime);
    const known = this.#keys.get(key);
    const touched = known === undefined ? [] : [...known.open.values()].filter(touches(sessionOf(time, gap)));
    const overlapping = touched.sort((a, b) => a.start - b.start);
    const reached = known === undefined ? Number.NEGATIVE_INFINITY : watermarkAt(known.progress, now);
    if (overlapping.length === 0 && time + gap <= reached) {
      this.#options.late(key, record, reached - time, at);
      return;
    }
    aggregation.check?.(this.#together(overlapping), record, 1);
    const owner = known ?? this.#start(key, startProgress(time, recordLog, watermarkDelay));
    this.#join(owner, overlapping, record, time, at);
    if (known === undefined || observe(owner.progress, time, recordLog, now)) {
      this.#progress.set(key, owner.progress);
    }
    this.#settle(owner, now);
  }

  /** Aggregate of all these sessions; null for none. The sessions stay as they are. */
  #together([first, ...others]: readonly Open<A>[]): A | null {
    if (first === undefined) return null;
    if (others.length === 0) return first.state.value;
    const { aggregation } = this.#options;
    const merged = aggregation.copy(first.state.value);
    for (const { state } of others) aggregation.merge(merged, state.value);
    return merged;
  }

  /** One session of the record and all those that it touches, which are in the order of their starts. */
  #join(owner: Key<A>, overlapping: readonly Open<A>[], record: R, time: number, at: InputRecord<unknown>): void {
    const { aggregation, gap } = this.#options;
    const [first, ...others] = overlapping;
    if (first === undefined) {
      const state = { ...nowhere, end: time + gap, value: aggregation.create(record) };
      extend(state, at);
      this.#open(owner, time, state);
      this.#sessions.set(sessionKey(time, owner.key), state);
      return;
    }
    const { state } = first;
    aggregation.add(state.value, record);
    extend(state, at);
    state.end = Math.max(state.end, time + gap);
    for (const other of others) {
      aggregation.merge(state.value, other.state.value);
      cover(state, other.state);
      state.end = Math.max(state.end, other.state.end);
      this.#remove(owner, other);
    }
    if (time >= first.start) {
      owner.open.set(first, state.end);
      this.#sessions.set(sessionKey(first.start, owner.key), state);
      return;
    }
    this.#remove(owner, first);
    this.#open(owner, time, state);
    this.#sessions.set(sessionKey(time, owner.key), state);
  }

  #start(key: string, progress: Progress): Key<A> {
    const owner: Key<A> = { key, progress, open: new Heap() };
    this.#keys.set(key, owner);
    return owner;
  }

  #open(owner: Key<A>, start: number, state: SessionState<A>): void {
    owner.open.set({ start, state, tie: start, due: 0, slot: -1 }, state.end);
  }

  #remove(owner: Key<A>, session: Open<A>): void {
    owner.open.delete(session);
    this.#sessions.delete(sessionKey(session.start, owner.key));
  }

  #settle(owner: Key<A>, now: number): void {
    const reached = watermarkAt(owner.progress, now);
    for (let next = owner.open.first(); next !== undefined && next.due <= reached; next = owner.open.first()) {
      const { start, state } = next;
      this.#remove(owner, next);
      this.#options.emit({ key: owner.key, start, end: state.end, value: state.value, span: state });
    }
    this.#schedule(owner);
  }

  #schedule(owner: Key<A>): void {
    const next = owner.open.first();
    const { forget = forgetAfter } = this.#options;
    if (next !== undefined) this.#due.set(owner.key, dueAt(owner.progress, next.due));
    else if (Number.isFinite(forget)) this.#due.set(owner.key, forgottenAt(owner.progress, forget));
    else this.#due.delete(owner.key);
  }
}

/** Half open windows that only meet do not touch. */
function touches<A>(window: Window): (open: Open<A>) => boolean {
  return ({ start, state }) => start < window.end && window.start < state.end;
}

function sessionKey(start: number, key: string): string {
  return `${start} ${key}`;
}
