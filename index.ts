/**
 * The public interface of Millrace for programs that declare processors. The names here keep their meaning between minor versions; files below
 * may change at any time.
 *
 * The rest is in entries of its own: `millrace/windows` (aggregates by key and window), `millrace/joins`, `millrace/patterns`, `millrace/runtime`
 * (to run processors in a program of your own) and `millrace/testing` (to test them in virtual time, without a broker).
 */

/** Refusing a record: throw a `MillraceError` whose code has the disposition `deadLetter`, such as BAD_RECORD. */
export { type Disposition, type ErrorCode, isError, MillraceError } from './core/base/errors.ts';
/** A processor: a declaration around a pure, synchronous fold. */
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
/** Exact numbers: an Avro decimal is a `bigint`, unscaled. */
export { formatDecimal, formatTrimmed, parseDecimal } from './core/values/decimal.ts';
/** Time: microseconds since 1970 as `bigint`. */
export { formatTimestamp, parseTimestamp } from './core/values/time.ts';
/** Former names of this entry. They are removed in the next release. */
export * from './entries/deprecated.ts';
/** The schemas of Millrace's own topics, for processors that read them, and the types of their values. */
export { type SchemaName, type SchemaTypes, schemas } from './schemas/gen/index.ts';
