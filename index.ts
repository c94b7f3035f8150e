/**
 * The public interface of Millrace. What is here keeps its meaning between minor versions; files below it may change at any time.
 *
 * Tests of a processor need `millrace/testing`, too.
 */

// ---- For those who write processors ----

/** Exact numbers: an Avro decimal is a `bigint`, unscaled. */
export { formatDecimal, formatTrimmed, parseDecimal } from './core/decimal.ts';
/** Refusing a record: throw one whose code has the disposition `deadLetter`, such as BAD_RECORD. */
export { type Disposition, type ErrorCode, isError, MillraceError } from './core/errors.ts';
/** Which windows an event time belongs to. */
export { type Calendar, CalendarWindows, calendar } from './core/processor/calendars/calendar.ts';
/** What a processor is: a declaration around a pure, synchronous fold. */
export {
  type Context,
  defineProcessor,
  type Fold,
  type Input,
  type InputRecord,
  type Output,
  type Processor,
  type Range,
  type Settings,
  type Store,
  type StoreDefinition,
  type Table,
  type TableRecord,
  type Timers,
} from './core/processor/define.ts';
/** @deprecated Declare `timers` and use `context.timers`. Goes with the next release. */
export { Heap, type HeapEntry } from './core/processor/heap.ts';
/** Joins and their kin: the latest of another topic as of an event time, a captured table, each id once, another partitioning. */
export { AsOfJoin, type AsOfOptions, type Waiting } from './core/processor/joins/as-of.ts';
export { Dedup, type Seen } from './core/processor/joins/dedup.ts';
export { byFields } from './core/processor/joins/repartition.ts';
export { CapturedTable, type CapturedTableOptions, type Mark, type RowChange } from './core/processor/joins/table.ts';
export { type Held, type StoredVersion, Versions } from './core/processor/joins/versions.ts';
/** Patterns over events: sequences, counts, absence, within a time. */
export { KeyedPattern } from './core/processor/pattern/keyed.ts';
export {
  definePattern,
  type Outcome,
  type Pattern,
  type PatternEvent,
  patternStateSchema,
} from './core/processor/pattern/pattern.ts';
/** How far event time has come, key by key. Microseconds. */
export { dueAt, observe, type Progress, startProgress, watermarkAt } from './core/processor/watermark.ts';
/** Aggregates by key and window: late records and corrections revise them, larger windows are merged from smaller ones. */
export type { Aggregation, Emission } from './core/processor/windows/aggregation.ts';
export { Plan } from './core/processor/windows/plan.ts';
export type { Reading } from './core/processor/windows/recent.ts';
export type { Change, WindowOutcome } from './core/processor/windows/revision.ts';
export { type Session, Sessions, type SessionsOptions, sessionStores } from './core/processor/windows/sessions.ts';
export type { Version } from './core/processor/windows/versions.ts';
export { Windowed, type WindowedOptions, windowStores } from './core/processor/windows/windowed.ts';
export {
  assign,
  hopping,
  parseWindows,
  tumbling,
  type Window,
  type Windows,
} from './core/processor/windows/windows.ts';
/** Time: microseconds since 1970 as `bigint`. */
export { formatTimestamp, parseTimestamp } from './core/time.ts';
/** The schemas of Millrace's own topics, for processors that read them, and the types of their values. */
export { type SchemaName, type SchemaTypes, schemas } from './schemas/gen/index.ts';

// ---- For those who run processors in a program of their own, instead of with `millrace run` ----

/** Where schemas have their ids. */
export { Registry } from './core/avro/registry.ts';
export type { Schemas } from './core/avro/schemas.ts';
export { type Clock, wallClock } from './core/clock.ts';
export { KafkaLog } from './core/kafka/log.ts';
export { Metrics } from './core/observability/metrics.ts';
/** A task for each partition, exactly once. */
export { type Codecs, openCodecs } from './core/runtime/codecs.ts';
export { FoldHandler, type FoldSettings } from './core/runtime/fold-handler.ts';
/** The log as the runtime sees it, and Kafka as that log. */
export type { Fetched, Fetcher, Log, LogRecord, OutRecord, Writer } from './core/runtime/log.ts';
export { Runner, type RunnerEvent, type RunnerOptions } from './core/runtime/runner.ts';
