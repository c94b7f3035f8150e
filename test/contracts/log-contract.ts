import { expect, test } from '@jest/globals';
import { isError } from '../../core/base/errors.ts';
import {
  type Fetcher,
  type Log,
  type LogRecord,
  type OutRecord,
  readRange,
  type TopicPartition,
} from '../../core/log/log.ts';

export interface LogUnderTest extends AsyncDisposable {
  readonly log: Log;
  /** A new topic with so many partitions; its name. */
  topic(partitions: number): Promise<string>;
}

const wait = { maxWaitMs: 200, maxBytesPerPartition: 1_048_576 };
const at = (topic: string, partition = 0): TopicPartition => ({ topic, partition });

function record(topic: string, value: string, partition = 0): OutRecord {
  return { topic, partition, key: Buffer.from('k'), value: Buffer.from(value), timestamp: 1_700_000_000_000n };
}

async function eventually<T>(probe: () => Promise<T | undefined> | T | undefined, timeoutMs = 90_000): Promise<T> {
  const giveUpAt = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (Date.now() > giveUpAt) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function readAll(fetcher: Fetcher, topic: string, count: number, from = 0n): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  let offset = from;
  await eventually(async () => {
    for (const fetched of await fetcher.fetch([{ ...at(topic), offset }], wait)) {
      records.push(...fetched.records);
      offset = fetched.next;
    }
    return records.length >= count ? true : undefined;
  });
  return records;
}

/** What every log must do, in sentences. Each implementation passes all of them. */
export function testLog(name: string, open: () => Promise<LogUnderTest>): void {
  let serial = 0;
  const uniqueId = (): string => `contract.${process.pid}.${Date.now()}.${serial++}`;

  test(`${name}: a transaction's records and offsets become visible together`, async () => {
    await using subject = await open();
    const { log } = subject;
    const topic = await subject.topic(2);
    const group = uniqueId();
    await using writer = await log.writer(uniqueId());
    const written = await writer.transact({
      records: [record(topic, 'a'), record(topic, 'b'), record(topic, 'c', 1)],
      offsets: { group, positions: [{ ...at(topic), offset: 42n, metadata: 'a note' }] },
    });
    expect(written.find(({ partition }) => partition === 0)?.baseOffset).toBe(0n);
    await using fetcher = log.fetcher();
    const records = await readAll(fetcher, topic, 2);
    expect(
      records.map(({ offset, value, key, timestamp }) => [offset, value?.toString(), key?.toString(), timestamp]),
    ).toEqual([
      [0n, 'a', 'k', 1_700_000_000_000n],
      [1n, 'b', 'k', 1_700_000_000_000n],
    ]);
    // Each partition learns of the commit for itself, the one of the offsets perhaps a moment after that of the records.
    const committed = await eventually(async () => {
      const found = await log.committed(group, topic);
      return found.length > 0 ? found : undefined;
    });
    expect(committed).toEqual([{ ...at(topic), offset: 42n, metadata: 'a note' }]);
  });

  test(`${name}: opening a writer fences the earlier one of the same id, and nothing of the earlier one appears`, async () => {
    await using subject = await open();
    const { log } = subject;
    const topic = await subject.topic(1);
    const [id, group] = [uniqueId(), uniqueId()];
    const zombie = await log.writer(id);
    await zombie.transact({ records: [record(topic, 'before')] });
    const owner = await log.writer(id);
    const refused = zombie.transact({
      records: [record(topic, 'zombie')],
      offsets: { group, positions: [{ ...at(topic), offset: 9n }] },
    });
    await expect(refused).rejects.toMatchObject({ code: 'FENCED', disposition: 'retry' });
    await owner.transact({ records: [record(topic, 'after')] });
    await using fetcher = log.fetcher();
    const values = (await readAll(fetcher, topic, 2)).map(({ value }) => value?.toString());
    expect(values).toEqual(['before', 'after']);
    expect(await log.committed(group, topic)).toEqual([]);
  });

  test(`${name}: a reader's next position passes transaction markers and reaches the partition's end`, async () => {
    await using subject = await open();
    const { log } = subject;
    const topic = await subject.topic(1);
    await using writer = await log.writer(uniqueId());
    await writer.transact({ records: [record(topic, 'a')] });
    await writer.transact({ records: [record(topic, 'b')] });
    await using fetcher = log.fetcher();
    let offset = 0n;
    // A marker may be written after its commit was answered.
    await eventually(async () => {
      for (const fetched of await fetcher.fetch([{ ...at(topic), offset }], wait)) offset = fetched.next;
      return offset === 4n ? true : undefined;
    });
    expect(await log.ends(topic)).toEqual([4n]);
  });

  test(`${name}: a range ends at its upper bound, however the portions fall`, async () => {
    await using subject = await open();
    const { log } = subject;
    const topic = await subject.topic(1);
    await using writer = await log.writer(uniqueId());
    await writer.transact({ records: Array.from({ length: 10 }, (_, i) => record(topic, `${i}`)) });
    const values: string[] = [];
    for await (const records of readRange(log, { ...at(topic), from: 3n, to: 7n }, wait)) {
      values.push(...records.map(({ value }) => `${value}`));
    }
    expect(values).toEqual(['3', '4', '5', '6']);
  });

  test(`${name}: a large transaction arrives whole and in order`, async () => {
    await using subject = await open();
    const topic = await subject.topic(1);
    await using writer = await subject.log.writer(uniqueId());
    const pad = 'x'.repeat(150);
    await writer.transact({ records: Array.from({ length: 25_000 }, (_, i) => record(topic, `${i} ${pad}`)) });
    await using fetcher = subject.log.fetcher();
    const records = await readAll(fetcher, topic, 25_000);
    expect(records.every(({ value, offset }, i) => offset === BigInt(i) && value?.toString().startsWith(`${i} `))).toBe(
      true,
    );
  });

  test(`${name}: a fetch with nothing to read returns nothing after its wait`, async () => {
    await using subject = await open();
    const topic = await subject.topic(1);
    await using fetcher = subject.log.fetcher();
    const fetched = await fetcher.fetch([{ ...at(topic), offset: 0n }], { ...wait, maxWaitMs: 20 });
    expect(fetched.flatMap(({ records }) => records)).toEqual([]);
  });

  test(`${name}: members of a group share the partitions, and the rest take over those of one that leaves`, async () => {
    await using subject = await open();
    const { log } = subject;
    const topic = await subject.topic(4);
    const group = uniqueId();
    const owned: TopicPartition[][] = [[], []];
    const join = (i: number) =>
      log.join({
        group,
        topics: [topic],
        onAssigned: (partitions) => {
          owned[i] = [...partitions];
        },
        onLost: () => undefined,
      });
    const sizes = (...expected: number[]) =>
      eventually(() => (owned.every((partitions, i) => partitions.length === expected[i]) ? true : undefined));
    const first = await join(0);
    await sizes(4, 0);
    const before = owned[0]?.map(({ partition }) => partition);
    const second = await join(1);
    await sizes(2, 2);
    expect(before).toEqual(expect.arrayContaining(owned[0]?.map(({ partition }) => partition) ?? []));
    await first[Symbol.asyncDispose]();
    owned[0] = [];
    await sizes(0, 4);
    await second[Symbol.asyncDispose]();
  });

  test(`${name}: a missing topic is an error that names the remedy`, async () => {
    await using subject = await open();
    const missing = await subject.log.ends(`no.such.topic.${uniqueId()}`).catch((error: unknown) => error);
    expect(isError(missing, 'TOPIC_MISSING')).toBe(true);
  });
}
