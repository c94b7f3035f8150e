/**
 * Former names of `millrace`. They keep their meaning for one release, and are removed in the release after it: some have a new name, and most are
 * in an entry of their own now.
 */
import { type AsOfResult, type FirstSeen, type PendingJoin, type TablePosition, VersionedStore } from './joins.ts';
import type { PatternOutcome } from './patterns.ts';
import type { RecordChange, RecordVersion, VersionExtractor } from './windows.ts';

/** @deprecated use AsOfResult of `millrace/joins` */
export type Held<V> = AsOfResult<V>;
/** @deprecated use TablePosition of `millrace/joins` */
export type Mark = TablePosition;
/** @deprecated use PatternOutcome of `millrace/patterns` */
export type Outcome<E> = PatternOutcome<E>;
/** @deprecated use VersionExtractor of `millrace/windows` */
export type Reading<R> = VersionExtractor<R>;
/** @deprecated use RecordChange of `millrace/windows` */
export type Change<R> = RecordChange<R>;
/** @deprecated use FirstSeen of `millrace/joins` */
export type Seen = FirstSeen;
/** @deprecated use RecordVersion of `millrace/windows` */
export type Version<R> = RecordVersion<R>;
/** @deprecated use VersionedStore of `millrace/joins` */
export const Versions = VersionedStore;
/** @deprecated use VersionedStore of `millrace/joins` */
export type Versions<V> = VersionedStore<V>;
/** @deprecated use PendingJoin of `millrace/joins` */
export type Waiting<L> = PendingJoin<L>;

/** @deprecated declare `timers` and use `context.timers` */
export { Heap, type HeapEntry } from '../core/processor/heap.ts';

/** @deprecated import it from `millrace/joins` */
export {
  AsOfJoin,
  type AsOfOptions,
  byFields,
  CapturedTable,
  type CapturedTableOptions,
  Dedup,
  type RowChange,
  type StoredVersion,
} from './joins.ts';
/** @deprecated import it from `millrace/patterns` */
export { definePattern, KeyedPattern, type Pattern, type PatternEvent, patternStateSchema } from './patterns.ts';
/** @deprecated import it from `millrace/runtime` */
export {
  type Clock,
  type Codecs,
  type Fetched,
  type Fetcher,
  FoldHandler,
  type FoldSettings,
  KafkaLog,
  type Log,
  type LogRecord,
  Metrics,
  type OutRecord,
  openCodecs,
  Registry,
  Runner,
  type RunnerEvent,
  type RunnerOptions,
  type Schemas,
  type Writer,
  wallClock,
} from './runtime.ts';
/** @deprecated import it from `millrace/windows` */
export {
  type Aggregation,
  assign,
  type Calendar,
  CalendarWindows,
  calendar,
  dueAt,
  type Emission,
  hopping,
  observe,
  Plan,
  type Progress,
  parseWindows,
  type Session,
  Sessions,
  type SessionsOptions,
  sessionStores,
  startProgress,
  tumbling,
  type Window,
  Windowed,
  type WindowedOptions,
  type WindowOutcome,
  type Windows,
  watermarkAt,
  windowStores,
} from './windows.ts';
