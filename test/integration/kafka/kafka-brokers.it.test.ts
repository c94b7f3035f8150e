/** Kafka with three brokers: the contract of the log, and what it is for: leaders that move, a broker that is killed, one that is slow. */
import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cacheDir } from '../../../cli/settings/config.ts';
import { dispositionOf } from '../../../core/base/errors.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { requestTimeoutMs } from '../../../core/kafka/connection/internals.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import type { Fetcher, OutRecord } from '../../../core/log/log.ts';
import { installAll } from '../../../infra/local/install/install.ts';
import { kafka, moreBrokers } from '../../../infra/local/services/kafka.ts';
import { Stack } from '../../../infra/local/stack.ts';
import { testLog } from '../../contracts/log-contract.ts';
import { leadersOf, moveLeaders } from '../../faults/harness/leaders.ts';
import { patienceMs } from '../../support/patience.ts';
import { stacksFolder } from '../../support/stack.ts';

const partitions = 6;
const home = stacksFolder('brokers');
const host = { env: process.env, cacheDir: cacheDir() };
const never = new AbortController().signal;
let stack: Stack;
let brokers: readonly string[];
let topics = 0;

beforeAll(async () => {
  stack = await Stack.load({ name: 'brokers', dir: home, host, brokers: 3 });
  await stack.start([kafka, ...moreBrokers], await installAll({ host, signal: never }), never);
  brokers = (stack.config['kafka'] as { brokers: string[] }).brokers;
});

afterAll(async () => {
  await stack?.stopParts();
  rmSync(home, { recursive: true, force: true });
});

async function newTopic(count = partitions): Promise<string> {
  const name = `contract.${process.pid}.${Date.now()}.${topics++}`;
  await using admin = await TopicAdmin.open({ brokers, clientId: 'contract-admin' });
  await admin.create([{ name, partitions: count, settings: {} }]);
  return name;
}

testLog('Kafka of three brokers', async () => {
  const log = new KafkaLog({ brokers, clientId: 'contract' });
  return { log, topic: newTopic, [Symbol.asyncDispose]: () => log[Symbol.asyncDispose]() };
});

/** Writes 0, 1, 2 … to each partition and commits the next number with them, as a task does; goes on through whatever a retry cures. */
class Writing {
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  readonly errors: string[] = [];
  written = 0;

  constructor(log: KafkaLog, topic: string) {
    this.#done = this.#write(log, topic);
  }

  async #write(log: KafkaLog, topic: string): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await using writer = await log.writer(`${topic}.writer`);
        const [committed] = await log.committed(topic, topic);
        for (let n = Number(committed?.offset ?? 0n); !this.#stop.signal.aborted; n++) {
          const records = Array.from({ length: partitions }, (_, partition): OutRecord => {
            return { topic, partition, key: null, value: Buffer.from(`${n}`), timestamp: BigInt(n) };
          });
          const positions = [{ topic, partition: 0, offset: BigInt(n + 1) }];
          await writer.transact({ records, offsets: { group: topic, positions } });
          this.written = n + 1;
        }
      } catch (error) {
        if (dispositionOf(error) !== 'retry') throw error;
        this.errors.push((error as { code: string }).code);
        await delay(200);
      }
    }
  }

  async more(count: number): Promise<void> {
    const wanted = this.written + count;
    const giveUpAt = Date.now() + patienceMs;
    while (this.written < wanted) {
      if (Date.now() > giveUpAt) throw new Error(`stands at ${this.written}: ${this.errors.join(', ')}`);
      await Promise.race([delay(20), this.#done]);
    }
  }

  async end(): Promise<number> {
    this.#stop.abort();
    await this.#done;
    return this.written;
  }
}

/** Reads all partitions as they grow, through whatever a retry cures. */
async function readAll(fetcher: Fetcher, topic: string, complete: () => number): Promise<string[][]> {
  const values: string[][] = Array.from({ length: partitions }, () => []);
  const positions = values.map(() => 0n);
  const giveUpAt = Date.now() + patienceMs;
  while (values.some((each) => each.length < complete())) {
    if (Date.now() > giveUpAt) throw new Error(`read ${values.map(({ length }) => length)} of ${complete()}`);
    try {
      const wanted = positions.map((offset, partition) => ({ topic, partition, offset }));
      for (const fetched of await fetcher.fetch(wanted, { maxWaitMs: 100, maxBytesPerPartition: 65_536 })) {
        positions[fetched.partition] = fetched.next;
        values[fetched.partition]?.push(...fetched.records.map(({ value }) => `${value}`));
      }
    } catch (error) {
      if (dispositionOf(error) !== 'retry') throw error;
      await delay(200);
    }
  }
  return values;
}

const faults: readonly [string, (topic: string, writing: Writing) => Promise<void>][] = [
  [
    'leaders that move from broker to broker',
    async (topic, writing) => {
      for (let i = 0; i < 3; i++) {
        await moveLeaders(brokers, [topic]);
        await writing.more(10);
      }
    },
  ],
  [
    'a broker that is killed and comes back',
    async (_, writing) => {
      await stack.kill('kafka2', 'SIGKILL');
      await writing.more(10);
      await stack.restart('kafka2');
      await writing.more(10);
    },
  ],
  [
    'a broker that stands still for 4 s',
    async (_, writing) => {
      await stack.kill('kafka3', 'SIGSTOP');
      await delay(4_000);
      await stack.kill('kafka3', 'SIGCONT');
      await writing.more(10);
    },
  ],
];

test.each(faults)('through %s each record is written and read once, in order', async (_, inject) => {
  const topic = await newTopic();
  await using log = new KafkaLog({ brokers, clientId: 'contract' });
  await using fetcher = log.fetcher();
  const writing = new Writing(log, topic);
  let total = Number.POSITIVE_INFINITY;
  const reading = readAll(fetcher, topic, () => total);
  reading.catch(() => undefined);
  await writing.more(10);
  await inject(topic, writing);
  total = await writing.end();
  const expected = Array.from({ length: total }, (_, n) => `${n}`);
  for (const values of await reading) expect(values).toEqual(expected);
});

test('a broker that stands still delays no partition of another one', async () => {
  const topic = await newTopic();
  await using log = new KafkaLog({ brokers, clientId: 'contract' });
  await using fetcher = log.fetcher();
  const writing = new Writing(log, topic);
  await writing.more(20);
  const total = await writing.end();
  // Connections to all are open by now.
  await readAll(fetcher, topic, () => total);
  const leaders = await leadersOf(brokers, topic);
  const led = leaders.flatMap((leader, partition) => (leader === 3 ? [partition] : []));
  expect(led.length).toBeGreaterThan(0);
  await stack.kill('kafka3', 'SIGSTOP');
  try {
    const offsets = new Map(Array.from({ length: partitions }, (_, partition) => [partition, 0n]));
    const read = new Set<number>();
    const begun = performance.now();
    while (read.size < partitions - led.length && performance.now() - begun < requestTimeoutMs) {
      const wanted = [...offsets].map(([partition, offset]) => ({ topic, partition, offset }));
      for (const { partition, next } of await fetcher.fetch(wanted, {
        maxWaitMs: 100,
        maxBytesPerPartition: 65_536,
      })) {
        offsets.set(partition, next);
        read.add(partition);
      }
    }
    expect([...read].sort()).toEqual([0, 1, 2, 3, 4, 5].filter((partition) => !led.includes(partition)));
    // As long as the broker that stands still would keep a fetch, if it kept one.
    expect(performance.now() - begun).toBeLessThan(requestTimeoutMs);
  } finally {
    await stack.kill('kafka3', 'SIGCONT');
  }
});

test('a topic that was deleted fails only what reads or writes it', async () => {
  const [kept, gone] = [await newTopic(1), await newTopic(1)];
  await using log = new KafkaLog({ brokers, clientId: 'contract' });
  await using fetcher = log.fetcher();
  const wait = { maxWaitMs: 100, maxBytesPerPartition: 1_000 };
  const at = (topic: string) => ({ topic, partition: 0, offset: 0n });
  const record = (topic: string): OutRecord => {
    return { topic, partition: 0, key: null, value: Buffer.from('1'), timestamp: 1n };
  };
  await using writer = await log.writer(`${kept}.writer`);
  await writer.transact({ records: [record(kept), record(gone)] });
  await log.ends(gone);
  await fetcher.fetch([at(kept), at(gone)], wait);
  await using admin = await TopicAdmin.open({ brokers, clientId: 'contract-admin' });
  await admin.delete([gone]);
  // A topic that is new to the process makes it ask for metadata.
  const later = await newTopic(1);
  await writer.transact({ records: [record(kept), record(later)] });
  expect((await log.ends(kept))[0]).toBeGreaterThanOrEqual(3n);
  expect((await fetcher.fetch([at(kept), at(later)], wait)).length).toBeGreaterThan(0);
  await expect(log.ends(gone)).rejects.toMatchObject({ code: 'TOPIC_MISSING' });
  await expect(
    (async () => {
      while (true) await fetcher.fetch([at(kept), at(gone)], wait);
    })(),
  ).rejects.toMatchObject({ code: 'TOPIC_MISSING' });
});
