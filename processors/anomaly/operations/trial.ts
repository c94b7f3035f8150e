import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { MemorySchemas } from '../../../core/avro/registry/memory.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import { type Log, type LogRecord, readRange } from '../../../core/log/log.ts';
import { type Codecs, openCodecs } from '../../../core/runtime/fold/codecs.ts';
import { Engine, unmetered } from '../../../core/runtime/fold/engine.ts';
import { Stores } from '../../../core/state/stores/stores.ts';
import type { Anomaly } from '../../../schemas/gen/anomaly.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import type { HeartbeatChange } from '../../../schemas/gen/heartbeat_change.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import { anomaly } from '../anomaly.ts';
import type { Rule } from '../rules/rule.ts';
import type { AnomalySettings } from '../settings.ts';
import type { TradeNews } from '../trade-schema.ts';
import { tradesTopic } from '../trades.ts';

export interface TrialOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly settings: AnomalySettings;
  /** Rules of the trial; no others apply. */
  readonly rules: readonly Rule[];
  readonly heartbeatTopic: string;
  /** First market time of the anomalies, inclusive, microseconds: window start, or event time of the trade. */
  readonly from?: bigint;
  /** End of the market time, exclusive, microseconds. */
  readonly to?: bigint;
  readonly signal?: AbortSignal;
}

export interface Trial {
  readonly candles: number;
  readonly trades: number;
  /** Number of dead letters, and of candles for the late topic, that the rules would produce. */
  readonly dead: number;
  readonly late: number;
  /** Newest revision of each anomaly, sorted by market time. */
  readonly anomalies: readonly Anomaly[];
}

const candlesTopic = 'market.candles';
/** Records per fold run. */
const RUN = 1_000;

/**
 * Runs rules over the history in the topics, with the processor's own engine and fold, in memory. Nothing is written, neither to the log
 * nor to the registry. Candles and trades are read in the order of their timestamps, with heartbeats between them, as in a task.
 *
 * Reads the topics from their start, also for a range: earlier candles are part of its baselines.
 */
export async function tryRules(options: TrialOptions): Promise<Trial> {
  const memory = new MemorySchemas();
  const schemas: Schemas = {
    lagMs: 0,
    register: (subject, schema) => memory.register(subject, schema),
    byId: (id) => options.schemas.byId(id),
  };
  const processor = anomaly(options.settings, options.rules);
  const codecs = await openCodecs(processor, schemas);
  const outputs = new AvroDecoder<Anomaly>(memory, contracts.anomaly);
  const newest = new Map<string, Anomaly>();
  const counts = { candles: 0, trades: 0, dead: 0, late: 0 };
  const partitions = (await options.log.ends(candlesTopic)).length;

  for (let partition = 0; partition < partitions; partition++) {
    const engine = new Engine<Candle | TradeNews>(
      {
        processor,
        codecs,
        partition,
        metrics: { ...unmetered, late: () => counts.late++, deadLetter: () => counts.dead++ },
        partitionsOf: () => partitions,
        turn: () => Promise.resolve(),
        async *read() {},
      },
      new Stores(processor.stores),
      undefined,
    );
    for await (const { topic, records } of inOrder(options, codecs, partition)) {
      if (topic === options.heartbeatTopic) engine.beat(records[0]?.timestamp ?? 0n);
      else await engine.fold(topic, records);
      if (topic === candlesTopic) counts.candles += records.length;
      else if (topic === tradesTopic) counts.trades += records.length;
      for (const { topic: written, value } of engine.takeOutputs()) {
        if (written !== 'market.anomalies' || value === null) continue;
        const missing = outputs.missing([value]);
        if (missing.length > 0) await outputs.prepare(missing);
        const said = outputs.decode(value);
        newest.set(
          JSON.stringify([said.rule, said.venue, said.symbol, said.interval, `${said.window_start}`, said.event]),
          said,
        );
      }
    }
  }
  const { from, to } = options;
  const anomalies = [...newest.values()]
    .filter(({ window_start: at }) => (from === undefined || at >= from) && (to === undefined || at < to))
    .sort((a, b) => compare(a.window_start, b.window_start) || compare(a.symbol, b.symbol) || compare(a.rule, b.rule));
  return { ...counts, anomalies };
}

interface Run {
  readonly topic: string;
  /** Records of one topic; a heartbeat is one record with its log time, microseconds, as the timestamp. */
  readonly records: readonly LogRecord[];
}

/** Inputs of a task, as runs of records of one topic in timestamp order. */
async function* inOrder(
  options: TrialOptions,
  codecs: Codecs<Candle | TradeNews>,
  partition: number,
): AsyncGenerator<Run> {
  const { log, signal, heartbeatTopic } = options;
  const beats = new AvroDecoder<HeartbeatChange>(options.schemas, contracts.heartbeat_change);
  const sources = [tradesTopic, candlesTopic, heartbeatTopic].map((topic) => ({
    topic,
    at: 0,
    records: [] as readonly LogRecord[],
    portions: whole(log, topic, topic === heartbeatTopic ? 0 : partition, signal),
  }));
  const fill = async (source: (typeof sources)[number]): Promise<void> => {
    while (source.at >= source.records.length) {
      const { value, done } = await source.portions.next();
      if (done === true) return;
      source.records = value;
      source.at = 0;
      const decoder = source.topic === heartbeatTopic ? beats : codecs.inputs.get(source.topic);
      const missing = decoder?.missing(value.map((record) => record.value)) ?? [];
      if (missing.length > 0) await decoder?.prepare(missing);
    }
  };
  for (;;) {
    for (const source of sources) await fill(source);
    const [first, second] = sources
      .filter(({ at, records }) => at < records.length)
      .sort((a, b) => compare(head(a)?.timestamp ?? 0n, head(b)?.timestamp ?? 0n));
    if (first === undefined) return;
    if (first.topic === heartbeatTopic) {
      const record = head(first);
      first.at += 1;
      const logTime = record?.value == null ? null : beats.decode(record.value).source.ts_us;
      if (record !== undefined && logTime !== null)
        yield { topic: first.topic, records: [{ ...record, timestamp: logTime }] };
      continue;
    }
    const until = second === undefined ? undefined : head(second)?.timestamp;
    const from = first.at;
    do first.at += 1;
    while (
      first.at < first.records.length &&
      first.at - from < RUN &&
      (until === undefined || (head(first)?.timestamp ?? 0n) <= until)
    );
    yield { topic: first.topic, records: first.records.slice(from, first.at) };
  }
}

function head({ records, at }: { readonly records: readonly LogRecord[]; readonly at: number }): LogRecord | undefined {
  return records[at];
}

async function* whole(
  log: Log,
  topic: string,
  partition: number,
  signal?: AbortSignal,
): AsyncGenerator<readonly LogRecord[]> {
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  const range = { topic, partition, from: starts[partition] ?? 0n, to: ends[partition] ?? 0n };
  yield* readRange(log, range, {
    maxWaitMs: 250,
    maxBytesPerPartition: 1_048_576,
    ...(signal !== undefined && { signal }),
  });
}

function compare<T>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
