/**
 * Millrace's ohlcv without transactions: what exactly-once costs is the difference. Not a mode of the product. Outputs and changelog are
 * produced and acknowledged first, then the offset is committed, so a crash repeats records.
 *
 *   node bench/windows/at-least-once.ts STACK
 */
import { configOf } from '../../cli/config.ts';
import { services } from '../../cli/services.ts';
import { untilSignal } from '../../cli/signals.ts';
import { Registry } from '../../core/avro/registry.ts';
import { encodeBatch } from '../../core/kafka/batch-encoder.ts';
import { type Broker, type Cluster, type ClusterOptions, createCluster } from '../../core/kafka/internals.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { type ProducedBatch, produce } from '../../core/kafka/produce.ts';
import { chunk, findCoordinator, groupByPartition } from '../../core/kafka/writer.ts';
import { createLogger } from '../../core/observability/logger.ts';
import { Metrics } from '../../core/observability/metrics.ts';
import { Control } from '../../core/runtime/control.ts';
import type { OutRecord, Transaction, Writer, Written } from '../../core/runtime/log.ts';

/** Where offsets go: Kafka takes none from outside a group that has members. */
export function plainGroup(group: string): string {
  return `${group}.plain`;
}

interface PlainBroker extends Broker {
  offsetCommit(request: object): Promise<unknown>;
}

class PlainWriter implements Writer {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async transact({ records, offsets }: Transaction): Promise<readonly Written[]> {
    const written: Written[] = [];
    const chunks = [...groupByPartition(records).values()].map((of) => chunk(of));
    await this.#cluster.addMultipleTargetTopics([...new Set(records.map(({ topic }) => topic))]);
    await this.#cluster.refreshMetadataIfNecessary();
    for (let round = 0; chunks.some((batches) => round < batches.length); round++) {
      const batches = await Promise.all(
        chunks.flatMap((of) => (of[round] === undefined ? [] : [encode(of[round] as OutRecord[])])),
      );
      const byLeader = Map.groupBy(batches, ({ topic, partition }) => this.#leader(topic, partition));
      const produced = await Promise.all(
        [...byLeader].map(async ([nodeId, of]) => produce(await this.#cluster.findBroker({ nodeId }), null, of)),
      );
      if (round === 0) written.push(...produced.flat());
    }
    if (offsets !== undefined) {
      const group = plainGroup(offsets.group);
      const coordinator = (await findCoordinator(this.#cluster, group, 'group')) as PlainBroker;
      await coordinator.offsetCommit({
        groupId: group,
        groupGenerationId: -1,
        memberId: '',
        topics: offsets.positions.map(({ topic, partition, offset }) => ({
          topic,
          partitions: [{ partition, offset: offset.toString() }],
        })),
      });
    }
    return written;
  }

  #leader(topic: string, partition: number): number {
    const found = this.#cluster.findTopicPartitionMetadata(topic).find((each) => each.partitionId === partition);
    if (found === undefined) throw new Error(`${topic} has no partition ${partition}`);
    return found.leader;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

async function encode(records: readonly OutRecord[]): Promise<ProducedBatch> {
  const { topic, partition } = records[0] as OutRecord;
  return { topic, partition, batch: await encodeBatch(records, null) };
}

class PlainLog extends KafkaLog {
  readonly #cluster: Cluster;

  constructor(options: ClusterOptions) {
    super(options);
    this.#cluster = createCluster(options);
  }

  override async writer(_id: string): Promise<Writer> {
    await this.#cluster.connect();
    return new PlainWriter(this.#cluster);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster.disconnect();
    await super[Symbol.asyncDispose]();
  }
}

if (import.meta.main) {
  const config = configOf(process.argv[2] ?? 'bench', process.env);
  await using stack = new AsyncDisposableStack();
  const log = stack.use(new PlainLog({ brokers: config.kafka.brokers, clientId: 'bench' }));
  const schemas = stack.use(new Registry({ url: config.registry.url }));
  const signal = untilSignal();
  const control = stack.use(await Control.open({ log, schemas, onError: console.error }));
  const context = {
    config,
    control,
    log,
    schemas,
    metrics: new Metrics(),
    logger: createLogger({ level: 'warn', pretty: false }),
  };
  const service = stack.use(await services['ohlcv']?.(context));
  await Promise.race([service?.done, new Promise((resolve) => signal.addEventListener('abort', resolve))]);
}
