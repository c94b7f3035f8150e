/** The hot store: newest revisions of market.candles, market.anomalies and market.features, as tables. */
import { AvroDecoder } from '../../core/avro/decoder.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { type Clock, wallClock } from '../../core/base/clock.ts';
import { hotTables } from '../../core/hot-store/tables.ts';
import type { Metrics } from '../../core/observability/metrics.ts';
import type { HandlerFactory } from '../../core/runtime/handler.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { type HotTopic, hotTopics, valueSubject } from '../../schemas/topics.ts';
import { Breaker } from './breaker.ts';
import { type HotStoreEnvironment, HotStoreHandler, type HotStoreSettings } from './handler.ts';
import type { HotStore } from './store.ts';

export interface HotStoreSinkOptions {
  readonly schemas: Schemas;
  readonly store: HotStore;
  readonly settings: HotStoreSettings;
  readonly metrics: Metrics;
  /** Called when the store stops taking rows, with the reason, and when it takes them again. */
  readonly onBreaker?: (open: boolean, error?: unknown) => void;
  readonly clock?: Clock;
}

export interface HotStoreSink {
  readonly name: 'hot-store';
  readonly topics: readonly HotTopic[];
  readonly handler: HandlerFactory;
}

const name = 'hot-store';

/** Registers the schema of its dead letters. @throws MillraceError REGISTRY_UNREACHABLE, SCHEMA_INCOMPATIBLE */
export async function hotStoreSink(options: HotStoreSinkOptions): Promise<HotStoreSink> {
  const { schemas, store, settings, metrics, onBreaker, clock = wallClock } = options;
  const deadEncoder = await AvroEncoder.open<DeadLetter>(schemas, valueSubject(`${name}.dead`), contracts.dead_letter);
  metrics.hotStoreBreakerOpen.set(0);
  const breaker = new Breaker({
    clock,
    onChange: (open, error) => {
      metrics.hotStoreBreakerOpen.set(open ? 1 : 0);
      onBreaker?.(open, error);
    },
  });
  const shared = new Map<string, Omit<HotStoreEnvironment, 'taskMetrics'>>();
  for (const topic of hotTopics) {
    const table = hotTables[topic];
    const decoder = new AvroDecoder<object>(schemas, table.schema);
    shared.set(topic, { name, table, store, breaker, settings, decoder, deadEncoder, metrics, now: () => clock.now() });
  }
  return {
    name,
    topics: hotTopics,
    handler: (ownership) => {
      const { topic, partition } = ownership;
      const environment = shared.get(topic);
      if (environment === undefined) throw new TypeError(`${topic} has no table in the hot store`);
      const taskMetrics = metrics.task({ name, topic, partition });
      return new HotStoreHandler(ownership, { ...environment, taskMetrics });
    },
  };
}
