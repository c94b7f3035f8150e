/**
 * Millrace's ohlcv without transactions; the difference is the cost of exactly-once. Not a mode of the product. Outputs and changelog are
 * produced and acknowledged, then the offset is committed, so a crash repeats records.
 *
 *   node bench/windows/at-least-once.ts STACK
 */
import { configOf } from '../../cli/settings/config.ts';
import { type Broker, type Cluster, createCluster } from '../../core/kafka/connection/internals.ts';
import { Topology } from '../../core/kafka/connection/topology.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { encodeBatch } from '../../core/kafka/wire/batch-encoder.ts';
import { type ProducedBatch, produce } from '../../core/kafka/write/produce.ts';
import { chunk, groupByPartition } from '../../core/kafka/write/writer.ts';
import type { OutRecord, Transaction, Writer, Written } from '../../core/log/log.ts';

/** A separate group for offsets: Kafka refuses a commit from outside a group that has members. */
export function plainGroup(group: string): string {
  return `${group}.plain`;
}

interface PlainBroker extends Broker {
  offsetCommit(request: object): Promise<unknown>;
}

class PlainWriter implements Writer {
  readonly #cluster: Cluster;
  readonly #topology: Topology;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#topology = new Topology(cluster);
  }

  async transact({ records, offsets }: Transaction): Promise<readonly Written[]> {
    const written: Written[] = [];
    const chunks = [...groupByPartition(records).values()].map((of) => chunk(of));
    await this.#topology.ask(records.map(({ topic }) => topic));
    for (let round = 0; chunks.some((batches) => round < batches.length); round++) {
      const batches = await Promise.all(
        chunks.flatMap((of) => (of[round] === undefined ? [] : [encode(of[round] as OutRecord[])])),
      );
      const leaders = new Map<ProducedBatch, number>();
      for (const batch of batches) leaders.set(batch, await this.#topology.leader(batch));
      const byLeader = Map.groupBy(batches, (batch) => leaders.get(batch) as number);
      const produced = await Promise.all(
        [...byLeader].map(async ([nodeId, of]) => produce(await this.#cluster.findBroker({ nodeId }), null, of)),
      );
      if (round === 0) written.push(...produced.flat());
    }
    if (offsets !== undefined) {
      const group = plainGroup(offsets.group);
      const coordinator = (await this.#topology.coordinator(group, 'group')) as PlainBroker;
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

  async [Symbol.asyncDispose](): Promise<void> {}
}

async function encode(records: readonly OutRecord[]): Promise<ProducedBatch> {
  const { topic, partition } = records[0] as OutRecord;
  return { topic, partition, batch: await encodeBatch(records, null) };
}

if (import.meta.main) {
  const [stack = 'bench'] = process.argv.slice(2);
  const config = configOf(stack, process.env);
  const cluster = createCluster({ brokers: config.kafka.brokers, clientId: 'bench' });
  await cluster.connect();
  // The product has no such mode. Only the method that opens a transactional writer is replaced.
  KafkaLog.prototype.writer = async () => new PlainWriter(cluster);
  process.argv = [process.argv[0] ?? '', 'millrace', '--stack', stack, 'run', 'ohlcv', '--port', '0'];
  await import('../../cli/main.ts');
  await cluster.disconnect();
}
