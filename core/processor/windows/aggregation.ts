import type { StoreDefinition } from '../define.ts';
import type { Progress } from '../watermark.ts';

/**
 * What is kept of a window's records. Records come in any order and are of the same window; an aggregate handed to any of these
 * functions holds at least one record. None of them may keep a reference to a record or to another aggregate.
 */
export interface Aggregation<R, A> {
  /** Avro schema of an aggregate, for the changelog. */
  readonly schema: object;
  /** Event time, microseconds. */
  time(record: R): number;
  create(record: R): A;
  add(into: A, record: R): void;
  /** Adds an aggregate of other records: of a smaller window that has closed, or of others of a window that is made again. */
  merge(into: A, other: A): void;
  copy(of: A): A;
  /** Records in it. */
  count(of: A): number;
  /**
   * Takes a record out that is in it, with others. False, and nothing is changed, when what is left cannot be told from the aggregate, such as
   * the second greatest price: then the window's input is read again.
   */
  subtract?(from: A, record: R): boolean;
  /**
   * An aggregate without records that follows on `from`, for a window in which nothing happened; may be called with one of its own.
   * Needed to fill gaps, as is `lastTime`.
   */
  carry?(from: A): A;
  /** Event time of the last record; of a carried one, of the last record before it. Microseconds. */
  lastTime?(of: A): number;
  /** Whether two carried aggregates would be emitted alike. */
  sameCarry?(a: A, b: A): boolean;
  /**
   * Called before anything changes. Without a record, about what is left when one goes.
   *
   * @param share how many windows of this length the longest window may hold: what must fit that one has to fit this many times here.
   * @throws MillraceError BAD_RECORD when an aggregate with the record would be too great for its outputs.
   */
  check?(into: A | null, record: R | null, share: number): void;
}

/** The input that an aggregate was made of: offsets of the input partition and LSNs, inclusive. LSNs are 0 when no record had one; offsets are -1 when there was none. */
export interface Span {
  from_offset: bigint;
  to_offset: bigint;
  from_lsn: bigint;
  to_lsn: bigint;
}

/** One window, and all of it: what is not in here does not survive a restart. */
export interface PaneState<A> extends Span {
  /** Of the last emission; 0 before the first. */
  revision: number;
  closed: boolean;
  /** Not the sum of its smaller windows, because the intervals were changed: only its input can rebuild it. */
  opaque: boolean;
  /** Log time at which the next PARTIAL is due; 0 when nothing changed since the last emission. */
  partial_due: number;
  /** Null when it has no records. Closed smaller windows are in it, open ones are not yet. */
  value: A | null;
}

/** PARTIAL may still grow; CLOSED is complete as of its watermark; REVISED was changed after that; FILLED is an empty window that was asked for. */
export type PaneStatus = 'PARTIAL' | 'CLOSED' | 'REVISED' | 'FILLED';
export type PaneReason = 'CADENCE' | 'WATERMARK' | 'LATE_TRADE' | 'CORRECTION' | 'CANCEL' | 'GAP' | 'REBUILT';

/** A window as it stands, to be made into an output. Nothing of it may be kept or changed. */
export interface Emission<A> {
  readonly key: string;
  /** Name of its windows. */
  readonly level: string;
  /** Microseconds. */
  readonly start: number;
  readonly end: number;
  /** Null when all its records are gone. Without records, but not null, when it is FILLED. */
  readonly value: A | null;
  readonly status: PaneStatus;
  /** LATE_TRADE is any late record. */
  readonly reason: PaneReason;
  /** From 1, rising by 1 with each emission of the window. */
  readonly revision: number;
  /** Null without input. */
  readonly span: Readonly<Span> | null;
}

/** How far a key's event time has come, and by which settings that was judged. */
export interface KeyProgress extends Progress {
  /** Allowed lateness by which `frozen` and all decisions so far were made. Stored state has this name for it. */
  horizon: number;
  /** Windows that end at or before this are frozen, whatever the allowed lateness is now: they are gone. */
  frozen: number;
  /** Name of the plan that its windows were made by. */
  plan: string;
}

export const keyStore: StoreDefinition = {
  name: 'keys',
  schema: {
    type: 'record',
    name: 'KeyProgress',
    namespace: 'millrace.windows',
    fields: [
      { name: 'max_event', type: 'double' },
      { name: 'max_log', type: 'double' },
      { name: 'floor', type: 'double' },
      { name: 'lateness', type: 'double' },
      { name: 'horizon', type: 'double' },
      { name: 'frozen', type: 'double' },
      { name: 'plan', type: 'string' },
    ],
  },
};

/** Key: `<level> <start in microseconds> <key>`. */
export function paneStore(aggregate: object): StoreDefinition {
  return {
    name: 'windows',
    version: 2,
    schema: {
      type: 'record',
      name: 'Pane',
      namespace: 'millrace.windows',
      fields: [
        { name: 'revision', type: 'int' },
        { name: 'closed', type: 'boolean' },
        { name: 'opaque', type: 'boolean' },
        { name: 'partial_due', type: 'double' },
        { name: 'from_offset', type: 'long' },
        { name: 'to_offset', type: 'long' },
        { name: 'from_lsn', type: 'long' },
        { name: 'to_lsn', type: 'long' },
        { name: 'value', type: ['null', aggregate] },
      ],
    },
  };
}

export function paneKey(level: string, start: number, key: string): string {
  return `${level} ${start} ${key}`;
}

export function readPaneKey(text: string): { level: string; start: number; key: string } {
  const first = text.indexOf(' ');
  const second = text.indexOf(' ', first + 1);
  return { level: text.slice(0, first), start: Number(text.slice(first + 1, second)), key: text.slice(second + 1) };
}

/** Of no input. */
export const nowhere: Readonly<Span> = Object.freeze({ from_offset: -1n, to_offset: -1n, from_lsn: 0n, to_lsn: 0n });

/** Makes the span cover another one. */
export function cover(span: Span, other: Readonly<Span>): void {
  if (other.from_offset < 0n) return;
  if (span.from_offset < 0n || other.from_offset < span.from_offset) span.from_offset = other.from_offset;
  if (other.to_offset > span.to_offset) span.to_offset = other.to_offset;
  if (other.to_lsn > span.to_lsn) span.to_lsn = other.to_lsn;
  if (other.from_lsn !== 0n && (other.from_lsn < span.from_lsn || span.from_lsn === 0n)) span.from_lsn = other.from_lsn;
}

/** Makes the span cover a record: the newest one of its partition. */
export function extend(span: Span, at: { readonly offset: bigint; readonly lsn: bigint | null }): void {
  if (span.from_offset < 0n) span.from_offset = at.offset;
  span.to_offset = at.offset;
  const { lsn } = at;
  if (lsn === null) return;
  if (lsn > span.to_lsn) span.to_lsn = lsn;
  if (lsn < span.from_lsn || span.from_lsn === 0n) span.from_lsn = lsn;
}
