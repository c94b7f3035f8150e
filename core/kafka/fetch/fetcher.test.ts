import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { fetchRange, type LogRecord } from '../../log/log.ts';
import type { Cluster } from '../connection/internals.ts';
import { encodeBatch } from '../wire/batch-encoder.ts';
import { KafkaFetcher } from './fetcher.ts';

interface Answer {
  readonly error?: number;
  readonly records?: Buffer;
  readonly end?: bigint;
}

/** One partition's part of a Fetch response, version 11. */
function partitionAnswer(partition: number, { error = 0, records = Buffer.alloc(0), end = 0n }: Answer): Buffer {
  const head = Buffer.alloc(42);
  head.writeInt32BE(partition, 0);
  head.writeInt16BE(error, 4);
  head.writeBigInt64BE(end, 6);
  head.writeInt32BE(-1, 34);
  head.writeInt32BE(records.length, 38);
  return Buffer.concat([head, records]);
}

function response(partitions: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(21);
  head.writeInt32BE(1, 10);
  head.writeInt16BE(1, 14);
  head.write('t', 16);
  head.writeInt32BE(partitions.length, 17);
  return Buffer.concat([head, ...partitions]);
}

interface Sent {
  readonly encode: () => Promise<{ readonly buffer: Buffer }>;
}

interface Codec {
  readonly decode: (payload: Buffer) => Promise<unknown>;
  readonly parse: (decoded: unknown) => Promise<unknown>;
}

/** Partitions and offsets in a Fetch request, version 11, for topic `t`. */
function wantedOf(request: Buffer): Map<number, bigint> {
  const wanted = new Map<number, bigint>();
  for (let i = 0, at = 36; i < request.readInt32BE(32); i++, at += 28) {
    wanted.set(request.readInt32BE(at), request.readBigInt64BE(at + 8));
  }
  return wanted;
}

interface FakeBroker {
  readonly fetch: (wanted: ReadonlyMap<number, bigint>) => Promise<ReadonlyMap<number, Answer>>;
  sent: number;
  disconnects: number;
}

class FakeCluster {
  readonly brokers = new Map<number, FakeBroker>();
  /** By partition of topic `t`. */
  leaders: number[] = [];
  topicError = 0;
  metadataAsked = 0;
  disconnected = false;

  broker(nodeId: number, fetch: FakeBroker['fetch']): FakeBroker {
    const broker = { fetch, sent: 0, disconnects: 0 };
    this.brokers.set(nodeId, broker);
    return broker;
  }

  get cluster(): Cluster {
    const connect = (nodeId: number) => {
      const broker = this.brokers.get(nodeId);
      if (broker === undefined) throw Object.assign(new Error('no such broker'), { name: 'KafkaJSBrokerNotFound' });
      return {
        nodeId,
        metadata: async () => this.#metadata(),
        disconnect: async () => {
          broker.disconnects++;
        },
        connectionPool: {
          send: async ({ request, response: codec }: { request: Sent; response: Codec }) => {
            broker.sent++;
            const answers = await broker.fetch(wantedOf((await request.encode()).buffer));
            return codec.parse(await codec.decode(response([...answers].map(([p, a]) => partitionAnswer(p, a)))));
          },
        },
      };
    };
    const findBroker = async ({ nodeId }: { nodeId: string | number }) => connect(Number(nodeId));
    return {
      connect: async () => undefined,
      disconnect: async () => {
        this.disconnected = true;
      },
      refreshMetadata: async () => undefined,
      removeBroker: () => undefined,
      findBroker,
      brokerPool: {
        metadata: { clusterId: 'fake' },
        getNodeIds: () => [...this.brokers.keys()].map(String),
        findBroker,
        findConnectedBroker: async () => connect(this.brokers.keys().next().value as number),
      },
    } as unknown as Cluster;
  }

  #metadata() {
    this.metadataAsked++;
    const partitionMetadata = this.leaders.map((leader, partitionId) => ({ leader, partitionId }));
    return {
      brokers: [...this.brokers.keys()].map((nodeId) => ({ nodeId })),
      topicMetadata: [{ topic: 't', topicErrorCode: this.topicError, partitionMetadata }],
    };
  }
}

const options = { maxWaitMs: 250, maxBytesPerPartition: 131_072 };
const at = (partition: number, offset = 0n) => ({ topic: 't', partition, offset });
const batchAt = async (offset: bigint, value = `${offset}`): Promise<Buffer> => {
  const batch = await encodeBatch(
    [{ topic: 't', partition: 0, key: null, value: Buffer.from(value), timestamp: 1n }],
    null,
  );
  batch.writeBigInt64BE(offset, 0);
  return batch;
};
const small = await batchAt(0n, '.');
/** Has a record at each offset below `end`. */
const busy =
  (end = 1_000_000n): FakeBroker['fetch'] =>
  async (wanted) => {
    const answers = new Map<number, Answer>();
    for (const [partition, offset] of wanted) {
      const records = Buffer.from(small);
      records.writeBigInt64BE(offset, 0);
      answers.set(partition, offset < end ? { records, end } : { end });
    }
    await delay(offsetsAll(wanted, end) ? 20 : 0);
    return answers;
  };
const offsetsAll = (wanted: ReadonlyMap<number, bigint>, end: bigint) => [...wanted.values()].every((o) => o >= end);
/** Has nothing and tells so after the long poll. */
const quiet: FakeBroker['fetch'] = async (wanted) => {
  await delay(250);
  return new Map([...wanted.keys()].map((partition) => [partition, {}]));
};
const failing =
  (error: number): FakeBroker['fetch'] =>
  async (wanted) =>
    new Map([...wanted.keys()].map((partition) => [partition, { error }]));

async function readAll(records: AsyncIterable<readonly LogRecord[]>): Promise<string[]> {
  const values: string[] = [];
  for await (const portion of records) values.push(...portion.map(({ value }) => `${value}`));
  return values;
}

/** Fetches each partition from where it is, until the first one has reached offset 50. */
async function follow(fetcher: KafkaFetcher, partitions: number) {
  const offsets = Array.from({ length: partitions }, () => 0n);
  let errors = 0;
  while ((offsets[0] as bigint) < 50n) {
    try {
      for (const { partition, next } of await fetcher.fetch(
        offsets.map((offset, partition) => at(partition, offset)),
        options,
      )) {
        offsets[partition] = next;
      }
    } catch {
      errors++;
      await delay(1);
    }
  }
  return { offsets, errors };
}

test('a quiet leader does not slow down the partitions of another one', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1, 2];
  fake.broker(1, busy());
  const silent = fake.broker(2, quiet);
  await using fetcher = new KafkaFetcher(fake.cluster);
  await follow(fetcher, 2);
  expect(silent.sent).toBeLessThan(25);
});

test('a leader that fails or does not answer takes nothing from the others', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1, 2, 3];
  fake.broker(1, busy());
  const broken = fake.broker(2, async () => {
    throw Object.assign(new Error('connection reset'), { name: 'KafkaJSConnectionError' });
  });
  fake.broker(3, () => new Promise(() => undefined));
  await using fetcher = new KafkaFetcher(fake.cluster);
  const { offsets, errors } = await follow(fetcher, 3);
  expect([offsets[1], offsets[2], errors]).toEqual([0n, 0n, 0]);
  expect(broken.sent).toBeLessThan(25);
  expect(broken.disconnects).toBe(broken.sent);
});

test.each([3, 5, 6, 9, 56, 74, 75, 78])(
  'error %i of one partition is asked again with backoff, and the leader anew',
  async (code) => {
    const fake = new FakeCluster();
    fake.leaders = [1, 2];
    fake.broker(1, busy());
    const broken = fake.broker(2, failing(code));
    await using fetcher = new KafkaFetcher(fake.cluster);
    const { errors } = await follow(fetcher, 2);
    expect(errors).toBe(0);
    expect(broken.sent).toBeLessThan(25);
    while (fake.metadataAsked < 2) await fetcher.fetch([at(1)], options);
  },
);

test('a range is read on from the new leader after the old one has answered that it leads no more', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1];
  fake.broker(1, async (wanted) => {
    fake.leaders = [2];
    return failing(6)(wanted);
  });
  fake.broker(2, busy(3n));
  await using fetcher = new KafkaFetcher(fake.cluster);
  const range = { topic: 't', partition: 0, from: 0n, to: 3n };
  expect(await readAll(fetchRange(fetcher, range, options))).toHaveLength(3);
});

test.each([
  [29, 'KAFKA_FORBIDDEN'],
  [35, 'KAFKA_REFUSED'],
  [76, 'KAFKA_REFUSED'],
  [1, 'OFFSET_OUT_OF_RANGE'],
])('error %i of one partition ends the reading of a range with %s', async (code, expected) => {
  const fake = new FakeCluster();
  fake.leaders = [1];
  fake.broker(1, failing(code));
  await using fetcher = new KafkaFetcher(fake.cluster);
  const range = { topic: 't', partition: 0, from: 0n, to: 3n };
  await expect(readAll(fetchRange(fetcher, range, options))).rejects.toMatchObject({
    code: expected,
    disposition: 'stop',
    message: expect.stringContaining('t/0'),
  });
});

test('a failure of one partition comes after the records of the others that arrived with it', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1, 1];
  fake.broker(
    1,
    async () =>
      new Map([
        [0, { error: 29 }],
        [1, { records: await batchAt(0n), end: 1n }],
      ]),
  );
  await using fetcher = new KafkaFetcher(fake.cluster);
  const [fetched] = await fetcher.fetch([at(0), at(1)], options);
  expect(fetched?.partition).toBe(1);
  await expect(fetcher.fetch([at(0), at(1, 1n)], options)).rejects.toMatchObject({ code: 'KAFKA_FORBIDDEN' });
});

test.each([
  [3, 'TOPIC_MISSING'],
  [29, 'KAFKA_FORBIDDEN'],
])('a topic whose metadata have error %i ends the reading of a range with %s', async (code, expected) => {
  const fake = new FakeCluster();
  fake.topicError = code;
  fake.broker(1, busy());
  await using fetcher = new KafkaFetcher(fake.cluster);
  const range = { topic: 't', partition: 0, from: 0n, to: 3n };
  await expect(readAll(fetchRange(fetcher, range, options))).rejects.toMatchObject({ code: expected });
});

test('a defect of ours is no broker that is away', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1];
  fake.broker(1, async (wanted) => (wanted as unknown as { x: { y: never } }).x.y);
  await using fetcher = new KafkaFetcher(fake.cluster);
  const range = { topic: 't', partition: 0, from: 0n, to: 3n };
  await expect(readAll(fetchRange(fetcher, range, options))).rejects.toMatchObject({
    code: 'DEFECT',
    disposition: 'stop',
  });
});

test('an answer that comes after the position has changed is not used', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1, 2];
  fake.broker(1, async (wanted) => {
    await delay(50);
    return new Map([[0, { records: await batchAt(wanted.get(0) as bigint), end: 100n }]]);
  });
  fake.broker(2, busy());
  await using fetcher = new KafkaFetcher(fake.cluster);
  while ((await fetcher.fetch([at(0), at(1)], options)).length === 0);
  await delay(80);
  const offsets: bigint[] = [];
  for (let i = 0; i < 100 && offsets.length === 0; i++) {
    const fetched = await fetcher.fetch([at(0, 7n)], options);
    offsets.push(...fetched.map(({ from }) => from));
  }
  expect(offsets).toEqual([7n]);
});

test('a damaged batch is read twice, then it is one unreadable record, and reading goes on behind it', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1];
  const damaged = await batchAt(1n);
  damaged[damaged.length - 1] = (damaged[damaged.length - 1] as number) ^ 1;
  const log = [await batchAt(0n), damaged, await batchAt(2n)];
  const broker = fake.broker(1, async (wanted) => {
    return new Map([[0, { records: Buffer.concat(log.slice(Number(wanted.get(0)))), end: 3n }]]);
  });
  await using fetcher = new KafkaFetcher(fake.cluster);
  const records: (string | undefined)[] = [];
  for await (const portion of fetchRange(fetcher, { topic: 't', partition: 0, from: 0n, to: 3n }, options)) {
    records.push(...portion.map(({ value, unreadable }) => unreadable?.code ?? `${value}`));
  }
  expect(records).toEqual(['0', 'BAD_RECORD', '2']);
  expect(broker.sent).toBe(4);
});

test('a batch that was damaged on its way only is read', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1];
  let sent = 0;
  fake.broker(1, async () => {
    const records = await batchAt(0n);
    if (sent++ === 0) records[30] = (records[30] as number) ^ 1;
    return new Map([[0, { records, end: 1n }]]);
  });
  await using fetcher = new KafkaFetcher(fake.cluster);
  expect(await readAll(fetchRange(fetcher, { topic: 't', partition: 0, from: 0n, to: 1n }, options))).toEqual(['0']);
});

test('a batch beyond the high watermark, which is as of before the broker read, is read when it is asked for again', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1];
  const seen = new Set<bigint>();
  fake.broker(1, async (wanted) => {
    const offset = wanted.get(0) as bigint;
    const again = seen.has(offset);
    seen.add(offset);
    return new Map([[0, { records: await batchAt(offset), end: again ? offset + 1n : offset }]]);
  });
  await using fetcher = new KafkaFetcher(fake.cluster);
  for (let round = 0; round < 2; round++) {
    seen.clear();
    expect(await readAll(fetchRange(fetcher, { topic: 't', partition: 0, from: 0n, to: 2n }, options))).toEqual([
      '0',
      '1',
    ]);
  }
});

test('a batch whose end nobody knows stops the reading', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1];
  const records = await batchAt(0n);
  records.writeInt32BE(7, 23);
  fake.broker(1, async () => new Map([[0, { records, end: 9n }]]));
  await using fetcher = new KafkaFetcher(fake.cluster);
  const range = { topic: 't', partition: 0, from: 0n, to: 9n };
  await expect(readAll(fetchRange(fetcher, range, options))).rejects.toMatchObject({
    code: 'LOG_DAMAGED',
    disposition: 'stop',
    message: expect.stringContaining('t/0 cannot be read from 0'),
  });
});

test('a partition is read from its new leader while the old one still owes an answer', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1];
  fake.broker(1, () => {
    fake.leaders = [2];
    return new Promise(() => undefined);
  });
  fake.broker(2, busy(2n));
  await using fetcher = new KafkaFetcher(fake.cluster);
  expect(await readAll(fetchRange(fetcher, { topic: 't', partition: 0, from: 0n, to: 2n }, options))).toHaveLength(2);
});

test('a call ends with its signal, whatever the brokers do', async () => {
  const fake = new FakeCluster();
  fake.leaders = [1];
  fake.broker(1, () => new Promise(() => undefined));
  await using fetcher = new KafkaFetcher(fake.cluster);
  await expect(fetcher.fetch([at(0)], { ...options, signal: AbortSignal.timeout(20) })).rejects.toThrow('timeout');
});
