import { MillraceError } from '../errors.ts';
import type { Fetched, Fetcher, FetchOptions, FetchPosition, LogRecord, Position } from '../runtime/log.ts';
import { toMillraceError } from './errors.ts';
import { type Broker, type Cluster, createErrorFromCode, fetchRequest } from './internals.ts';
import { type AbortedTransaction, scanBatches } from './record-batch.ts';

/** Upper bound of one fetch over all partitions, compressed. Brokers fill partitions in the order of the request, so it is rotated. */
const maxBytesPerFetch = 8 * 1024 * 1024;

interface PartitionResponse {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: bigint;
  readonly aborted: AbortedTransaction[];
  readonly records: Buffer;
}

/** Reads committed records at explicit positions, on connections of its own, so that a long poll never delays a commit. */
export class KafkaFetcher implements Fetcher {
  readonly #cluster: Cluster;
  #connected = false;
  #closed = false;
  #turn = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async fetch(positions: readonly FetchPosition[], options: FetchOptions): Promise<readonly Fetched[]> {
    if (positions.length === 0) return [];
    try {
      const byLeader = await this.#byLeader(positions);
      const portions = await Promise.all(
        [...byLeader].map(([nodeId, wanted]) => this.#fetchFrom(nodeId, wanted, options)),
      );
      return portions.flat();
    } catch (error) {
      if (!(error instanceof MillraceError)) await this.#forget(error);
      throw toMillraceError(error, 'fetching');
    }
  }

  async #byLeader(positions: readonly FetchPosition[]): Promise<Map<number, FetchPosition[]>> {
    if (!this.#connected) {
      await this.#cluster.connect();
      this.#connected = true;
    }
    await this.#cluster.addMultipleTargetTopics([...new Set(positions.map((position) => position.topic))]);
    await this.#cluster.refreshMetadataIfNecessary();
    const byLeader = new Map<number, FetchPosition[]>();
    this.#turn = (this.#turn + 1) % positions.length;
    for (const position of [...positions.slice(this.#turn), ...positions.slice(0, this.#turn)]) {
      const metadata = this.#cluster
        .findTopicPartitionMetadata(position.topic)
        .find((each) => each.partitionId === position.partition);
      if (metadata === undefined) {
        throw new MillraceError('TOPIC_MISSING', `${position.topic} has no partition ${position.partition}`, {
          remedy: 'create the topics with: millrace topics apply',
        });
      }
      const wanted = byLeader.get(metadata.leader);
      if (wanted === undefined) byLeader.set(metadata.leader, [position]);
      else wanted.push(position);
    }
    return byLeader;
  }

  async #fetchFrom(nodeId: number, wanted: readonly FetchPosition[], options: FetchOptions): Promise<Fetched[]> {
    const broker: Broker = await this.#cluster.findBroker({ nodeId });
    const topics = groupByTopic(wanted, options.maxBytesPerPartition);
    const request = fetchRequest({
      replicaId: -1,
      isolationLevel: 1,
      maxWaitTime: options.maxWaitMs,
      minBytes: 1,
      maxBytes: maxBytesPerFetch,
      topics,
    });
    const responses = (await broker.connectionPool.send({
      request,
      response: { decode, parse },
    })) as PartitionResponse[];
    const fetched: Fetched[] = [];
    for (const response of responses) {
      const position = wanted.find((each) => each.topic === response.topic && each.partition === response.partition);
      if (position === undefined) continue;
      if (response.errorCode !== 0) {
        await this.#partitionError(response, position);
        continue;
      }
      const { size, read, next } = scanBatches(response.records, position.offset, response.aborted, {});
      if (next === position.offset && response.highWatermark <= next) continue;
      let records: readonly LogRecord[] | undefined;
      fetched.push({
        topic: response.topic,
        partition: response.partition,
        from: position.offset,
        next,
        size,
        get records() {
          records ??= read();
          return records;
        },
        end: response.highWatermark,
      });
    }
    return fetched;
  }

  async #partitionError(response: PartitionResponse, position: Position): Promise<void> {
    const error = createErrorFromCode(response.errorCode);
    const where = `${response.topic}/${response.partition}`;
    if (error.type === 'OFFSET_OUT_OF_RANGE') {
      throw new MillraceError('OFFSET_OUT_OF_RANGE', `${where} has no offset ${position.offset} any more`, {
        cause: error,
        remedy:
          'retention has deleted records that were not processed: raise retention, then choose an offset deliberately',
      });
    }
    // A moved leader or a topic that was just created: the next round asks with fresh metadata.
    await this.#cluster.refreshMetadata();
  }

  /** Drops the broken connection, so that the next fetch opens a new one. */
  async #forget(error: unknown): Promise<void> {
    if (this.#closed) return;
    const { host, port } = error as { host?: string; port?: number };
    if (host !== undefined && port !== undefined) this.#cluster.removeBroker({ host, port });
    await this.#cluster.disconnect().catch(() => undefined);
    this.#connected = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#cluster.disconnect().catch(() => undefined);
  }
}

function groupByTopic(wanted: readonly FetchPosition[], maxBytes: number): object[] {
  const topics: { topic: string; partitions: object[] }[] = [];
  for (const { topic, partition, offset } of wanted) {
    const last = topics.at(-1);
    const entry = { partition, fetchOffset: offset.toString(), maxBytes };
    if (last?.topic === topic) last.partitions.push(entry);
    else topics.push({ topic, partitions: [entry] });
  }
  return topics;
}

/** Reads the protocol's primitive types in order. */
class Cursor {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  int16(): number {
    this.#at += 2;
    return this.#buffer.readInt16BE(this.#at - 2);
  }

  int32(): number {
    this.#at += 4;
    return this.#buffer.readInt32BE(this.#at - 4);
  }

  int64(): bigint {
    this.#at += 8;
    return this.#buffer.readBigInt64BE(this.#at - 8);
  }

  bytes(length: number): Buffer {
    this.#at += length;
    return this.#buffer.subarray(this.#at - length, this.#at);
  }
}

/** Fetch response, version 11. The payload starts after the correlation id. */
async function decode(payload: Buffer): Promise<{ clientSideThrottleTime: number; responses: PartitionResponse[] }> {
  const cursor = new Cursor(payload);
  const clientSideThrottleTime = cursor.int32();
  const errorCode = cursor.int16();
  if (errorCode !== 0) throw createErrorFromCode(errorCode);
  cursor.int32(); // session id: we use none
  const responses: PartitionResponse[] = [];
  for (let topics = cursor.int32(); topics > 0; topics--) {
    const topic = cursor.bytes(cursor.int16()).toString('utf8');
    for (let partitions = cursor.int32(); partitions > 0; partitions--) responses.push(decodePartition(cursor, topic));
  }
  return { clientSideThrottleTime, responses };
}

function decodePartition(cursor: Cursor, topic: string): PartitionResponse {
  const partition = cursor.int32();
  const errorCode = cursor.int16();
  const highWatermark = cursor.int64();
  cursor.int64(); // last stable offset
  cursor.int64(); // log start offset
  const aborted: AbortedTransaction[] = [];
  for (let count = cursor.int32(); count > 0; count--) {
    aborted.push({ producerId: cursor.int64(), firstOffset: cursor.int64() });
  }
  cursor.int32(); // preferred read replica
  const records = cursor.bytes(Math.max(cursor.int32(), 0));
  return { topic, partition, errorCode, highWatermark, aborted, records };
}

async function parse(decoded: { responses: PartitionResponse[] }): Promise<PartitionResponse[]> {
  return decoded.responses;
}
