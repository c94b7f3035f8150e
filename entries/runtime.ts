/** `millrace/runtime`: to run processors in a program of your own, instead of with `millrace run`. */

/** Schema ids. */
export { Registry } from '../core/avro/registry/registry.ts';
export type { Schemas } from '../core/avro/schemas.ts';
export { type Clock, wallClock } from '../core/base/clock.ts';
/** Kafka as the runtime's log. */
export { KafkaLog } from '../core/kafka/log.ts';
/** The log as the runtime sees it. */
export type { Fetched, Fetcher, Log, LogRecord, OutRecord, Writer } from '../core/log/log.ts';
export { Metrics } from '../core/observability/metrics.ts';
/** A task for each partition, exactly once. */
export { type Codecs, openCodecs } from '../core/runtime/fold/codecs.ts';
export { FoldHandler, type FoldSettings } from '../core/runtime/fold/fold-handler.ts';
export { Runner, type RunnerEvent, type RunnerOptions } from '../core/runtime/runner.ts';
