/** Services that one process can run, by name: processors, sinks and the supervisor. */
import { resolve } from 'node:path';
import { openStore } from '../../core/archive/s3/open.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import { wallClock } from '../../core/base/clock.ts';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { partitionId } from '../../core/log/log.ts';
import type { Logger } from '../../core/observability/logger.ts';
import { readAliases } from '../../core/operations/aliases.ts';
import { aliased } from '../../core/operations/variant.ts';
import type { Processor } from '../../core/processor/define.ts';
import { openCodecs } from '../../core/runtime/fold/codecs.ts';
import { FoldHandler } from '../../core/runtime/fold/fold-handler.ts';
import { Heartbeats } from '../../core/runtime/heartbeats.ts';
import { Runner, type RunnerEvent, type RunnerOptions } from '../../core/runtime/runner.ts';
import type { RestoreEvent } from '../../core/state/state.ts';
import { LevelDisks } from '../../core/state/stores/level-disk.ts';
import type { HeartbeatChange } from '../../schemas/gen/heartbeat_change.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { PostgresHotStore } from '../../sinks/hot-store/postgres.ts';
import { keepRetention } from '../../sinks/hot-store/retention.ts';
import { hotStoreSink } from '../../sinks/hot-store/sink.ts';
import { manifestSink } from '../../sinks/manifests/sink.ts';
import { parquetSink } from '../../sinks/parquet/sink.ts';
import { startSupervisor } from '../capture/supervisor.ts';
import { processors } from '../processors/built-in.ts';
import { requireRetention } from './retention.ts';
import type { Service, ServiceContext, Start } from './service.ts';

export const services: Readonly<Record<string, Start>> = {
  ...Object.fromEntries(
    Object.entries(processors).map(([name, { make, heartbeats }]): [string, Start] => [
      name,
      (context) => startProcessor(context, make(context.config), heartbeats),
    ]),
  ),
  parquet: startParquet,
  manifests: startManifests,
  'hot-store': startHotStore,
  supervisor: startSupervisor,
};

/** @throws MillraceError CONFIG_INVALID: a name is unknown. */
export function serviceNames(names: readonly string[], all: boolean): readonly string[] {
  const known = Object.keys(services);
  if (all) return known;
  const unknown = names.filter((name) => !known.includes(name));
  if (names.length === 0 || unknown.length > 0) {
    const what = names.length === 0 ? 'nothing to run' : `no processor or sink is called ${unknown.join(', ')}`;
    throw new MillraceError('CONFIG_INVALID', what, {
      remedy: `name one or more of ${known.join(', ')}, or use --all`,
    });
  }
  return [...new Set(names)];
}

/** Reads the aliases of its inputs once. They stay valid, because a swap requires that no reader runs. */
export async function startProcessor<In>(
  context: ServiceContext,
  declared: Processor<In>,
  beats: boolean,
): Promise<Service> {
  const { config, log, schemas, metrics, logger } = context;
  const aliases = await readAliases(log, schemas);
  const processor = aliased(declared, new Map([...aliases].map(([name, { target }]) => [name, target])));
  await requireRetention(processor, config.kafka);
  const directory = processor.stores.some(({ disk }) => disk !== undefined)
    ? { path: resolve(config.runtime.stateDir), epoch: await log.clusterId(), disks: new LevelDisks() }
    : undefined;
  const codecs = await openCodecs(processor, schemas);
  const [primary, ...others] = processor.inputs.map(({ topic }) => topic);
  const runner = await startRunner(context, {
    name: processor.name,
    inputs: [[primary as string, ...others]],
    tables: (processor.tables ?? []).map(({ topic }) => topic),
    factory: (ownership) => {
      const { topic, partition } = ownership;
      return new FoldHandler(ownership, {
        processor,
        codecs,
        settings: config.runtime,
        metrics: metrics.task({ name: processor.name, topic, partition }),
        clock: wallClock,
        ...(directory === undefined ? {} : { directory }),
        states: context.states,
        onRestore: (event) => logRestore(logger, { name: processor.name, partition }, event),
      });
    },
  });
  const heartbeats = beats ? followHeartbeats(context, processor.name, runner) : undefined;
  return {
    name: processor.name,
    done: runner.done,
    get ready() {
      return runner.ready;
    },
    async [Symbol.asyncDispose]() {
      await heartbeats?.[Symbol.asyncDispose]();
      await runner[Symbol.asyncDispose]();
    },
  };
}

async function startParquet(context: ServiceContext): Promise<Service> {
  const { config, log, schemas, metrics } = context;
  return startStoring(context, 'parquet', async (store) => {
    const epoch = await log.clusterId();
    const sink = await parquetSink({ schemas, store, settings: config.parquet, epoch, metrics });
    const inputs = sink.topics.map((topic) => [topic] as [string]);
    const runner = await startRunner(context, { name: sink.name, inputs, factory: sink.handler });
    return { runner };
  });
}

async function startManifests(context: ServiceContext): Promise<Service> {
  const { config, log, schemas, metrics } = context;
  return startStoring(context, 'manifests', async (store) => {
    const epoch = await log.clusterId();
    const { topicsDir: prefix } = config.parquet;
    const sink = await manifestSink({ schemas, store, settings: config.manifest, prefix, epoch, metrics });
    const runner = await startRunner(context, { name: sink.name, inputs: [[sink.topic]], factory: sink.handler });
    return { runner, heartbeats: followHeartbeats(context, sink.name, runner) };
  });
}

/** A sink with its object store, which closes after the sink. */
async function startStoring(
  { config, metrics }: ServiceContext,
  name: string,
  start: (store: ObjectStore) => Promise<{ readonly runner: Runner; readonly heartbeats?: AsyncDisposable }>,
): Promise<Service> {
  metrics.sinkUploadRetries.inc({ name }, 0);
  const store = openStore({ ...config.s3, onRetry: () => metrics.sinkUploadRetries.inc({ name }) });
  try {
    await store.ensureBucket();
    const { runner, heartbeats } = await start(store);
    return {
      name,
      done: runner.done,
      get ready() {
        return runner.ready;
      },
      async [Symbol.asyncDispose]() {
        await heartbeats?.[Symbol.asyncDispose]();
        await runner[Symbol.asyncDispose]();
        await store[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}

/** Does not query the database: while it is down the service runs and waits, and the other services go on. */
async function startHotStore(context: ServiceContext): Promise<Service> {
  const { config, schemas, metrics, logger } = context;
  const { retentionDays: days, ...settings } = config.hotStore;
  const url = hotStoreUrl(config);
  const name = 'hot-store';
  const store = new PostgresHotStore({ url });
  const stop = new AbortController();
  const sink = await hotStoreSink({
    schemas,
    store,
    settings,
    metrics,
    onBreaker: (open, err) => {
      if (open) logger.warn({ name, err }, 'the hot store is unavailable: its partitions wait');
      else logger.info({ name }, 'the hot store is available again');
    },
  });
  const inputs = sink.topics.map((topic) => [topic] as [string]);
  const runner = await startRunner(context, { name: sink.name, inputs, factory: sink.handler });
  const retention = keepRetention({
    url,
    days,
    clock: wallClock,
    signal: stop.signal,
    onDropped: ({ name: partition, bytes }) => logger.info({ name, partition, bytes }, 'dropped by retention'),
    onError: (err) => logger.warn({ name, err }, 'the retention of the hot store failed; it is tried again'),
  });
  return {
    name: sink.name,
    done: runner.done,
    get ready() {
      return runner.ready;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await runner[Symbol.asyncDispose]();
      await retention;
      await store[Symbol.asyncDispose]();
    },
  };
}

/** URL of its own database, or of the source's if none is configured. */
export function hotStoreUrl(config: Config): string {
  return config.hotStore.url || config.postgres.url;
}

async function startRunner(
  context: ServiceContext,
  runs: Pick<RunnerOptions, 'name' | 'inputs' | 'tables' | 'factory'>,
): Promise<Runner> {
  const { config, log, control, metrics, logger } = context;
  const runner = await Runner.start({
    ...runs,
    log,
    metrics: (at) => metrics.task({ name: runs.name, ...at }),
    fetchBytes: config.runtime.fetchBytes,
    queueRecords: config.runtime.queueRecords,
    queueBytes: config.runtime.queueBytes,
    isPaused: (partition) => control.isPaused(runs.name, partition),
    onEvent: (event) => logEvent(logger, event),
  });
  const orders = control.subscribe(() => runner.obey());
  runner.done.finally(() => orders[Symbol.dispose]()).catch(() => undefined);
  return runner;
}

function followHeartbeats(context: ServiceContext, name: string, runner: Runner): AsyncDisposable {
  const { config, log, schemas, metrics, logger } = context;
  metrics.heartbeatSeconds.set({ name }, Date.now() / 1000);
  const decoder = new AvroDecoder<HeartbeatChange>(schemas, contracts.heartbeat_change);
  return new Heartbeats({
    log,
    topic: `${config.capture.prefix}.public.heartbeat`,
    read: async (value) => {
      const missing = decoder.missing([value]);
      if (missing.length > 0) await decoder.prepare(missing);
      const { ts_us } = decoder.decode(value).source;
      if (ts_us === null) throw new MillraceError('BAD_RECORD', 'the heartbeat has no commit time (source.ts_us)');
      return ts_us;
    },
    onBeat: (beat) => {
      metrics.heartbeatSeconds.set({ name }, Number(beat.logTime / 1000n) / 1000);
      runner
        .beat(beat)
        .catch((error: unknown) =>
          logger.warn({ err: error, name }, 'a heartbeat was not delivered; the next one will be'),
        );
    },
    onError: (error) => {
      logger.warn({ err: error, name }, 'heartbeats cannot be read; quiet partitions wait');
    },
  });
}

function logRestore(logger: Logger, task: { name: string; partition: number }, event: RestoreEvent): void {
  if (event.kind === 'restoring') {
    const { records, offset, from, to } = event;
    const percent = Number((100n * (offset - from)) / (to - from));
    logger.info({ ...task, records, percent }, 'restoring');
  } else if (event.rebuilt !== undefined) {
    const { records, rebuilt } = event;
    logger.info({ ...task, records, because: rebuilt }, 'the local copy of the state was restored from the changelog');
  } else {
    logger.debug({ ...task, records: event.records }, 'restored');
  }
}

function logEvent(logger: Logger, event: RunnerEvent): void {
  switch (event.kind) {
    case 'assigned':
      logger.info(
        { name: event.name, partitions: event.partitions.map(({ topic, partition }) => `${topic}/${partition}`) },
        'assigned',
      );
      break;
    case 'running':
      logger.debug(
        {
          name: event.name,
          positions: event.positions.map((at) => `${partitionId(at)} ${at.offset}`),
        },
        'running',
      );
      break;
    case 'interrupted':
      logger.warn(
        { name: event.name, topic: event.topic, partition: event.partition, retryMs: event.retryMs, err: event.error },
        'interrupted, takes over again',
      );
      break;
    case 'closed':
      logger.debug({ name: event.name, topic: event.topic, partition: event.partition }, 'closed');
      break;
    case 'fetch failed':
      logger.warn({ name: event.name, err: event.error }, 'fetching failed, tries again');
      break;
  }
}
