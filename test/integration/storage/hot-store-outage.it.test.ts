/** The hot store as a sink of a real Kafka, before a real Postgres that goes away and comes back. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { MemorySchemas } from '../../../core/avro/registry/memory.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { GroupAdmin } from '../../../core/kafka/groups.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import type { Committed, Fetched, Fetcher, JoinOptions, Log, TopicPartition, Writer } from '../../../core/log/log.ts';
import { Metrics } from '../../../core/observability/metrics.ts';
import { groupOf, Runner, type RunnerEvent } from '../../../core/runtime/runner.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import { hotTopics } from '../../../schemas/topics.ts';
import { candle, minute, start } from '../../../sinks/hot-store/fixtures/values.ts';
import { PostgresHotStore } from '../../../sinks/hot-store/postgres.ts';
import { planRebuild, rebuild } from '../../../sinks/hot-store/rebuild.ts';
import { hotStoreSink } from '../../../sinks/hot-store/sink.ts';
import type { HotStore } from '../../../sinks/hot-store/store.ts';
import { Link } from '../../faults/harness/link.ts';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { eventually } from '../../support/patience.ts';
import { testConfig } from '../../support/stack.ts';

const topic = 'market.candles';
const partitions = 3;
const { brokers } = testConfig().kafka;

let pipeline: Pipeline;

beforeEach(async () => {
  pipeline = await Pipeline.open();
});

afterEach(async () => {
  await pipeline[Symbol.asyncDispose]();
});

test('while the database is away the sink keeps its partitions, takes little and loses nothing; then the backlog drains by itself', async () => {
  const { metrics } = pipeline;
  await using sink = await pipeline.run();
  await pipeline.send(1, 300);
  await pipeline.expectNewest();
  pipeline.link.cut();
  await pipeline.send(2, 3_000);
  await eventually(async () => (await metrics.hotStoreBreakerOpen.get()).values[0]?.value === 1);
  await pipeline.send(3, 3_000);
  expect(sink.failed).toBeUndefined();
  expect(sink.events.filter(({ kind }) => kind === 'interrupted' || kind === 'closed')).toEqual([]);
  const { values: taken } = await metrics.recordsProcessed.get();
  expect(taken.reduce((sum, { value }) => sum + value, 0)).toBeLessThanOrEqual(300);
  expect((await metrics.hotStoreLagSeconds.get()).values[0]?.value).toBeGreaterThan(0);
  pipeline.link.mend();
  await pipeline.expectNewest();
  await eventually(async () => (await pipeline.lag()) === 0n);
  expect((await metrics.hotStoreBreakerOpen.get()).values[0]?.value).toBe(0);
  expect((await metrics.takeovers.get()).values.map(({ value }) => value)).toEqual([partitions * hotTopics.length]);
});

test('a database that is frozen and one that is away at the start are waited for as well', async () => {
  pipeline.link.cut();
  await pipeline.send(1, 200);
  await using _sink = await pipeline.run({ answerTimeoutMs: 1_000 });
  await eventually(async () => (await pipeline.metrics.hotStoreBreakerOpen.get()).values[0]?.value === 1);
  pipeline.link.mend();
  await pipeline.expectNewest();
  pipeline.link.freeze();
  await pipeline.send(2, 200);
  await eventually(async () => (await pipeline.metrics.hotStoreBreakerOpen.get()).values[0]?.value === 1);
  pipeline.link.mend();
  await pipeline.expectNewest();
});

test('a sink that is told to end while the database is away ends, and its successor writes what it could not', async () => {
  const sink = await pipeline.run();
  await pipeline.send(1, 100);
  await pipeline.expectNewest();
  pipeline.link.cut();
  await pipeline.send(2, 100);
  await eventually(async () => (await pipeline.metrics.hotStoreBreakerOpen.get()).values[0]?.value === 1);
  await sink[Symbol.asyncDispose]();
  pipeline.link.mend();
  await using _next = await pipeline.run();
  await pipeline.expectNewest();
});

test('an end between the commit of the database and that of Kafka, again and again, leaves the same table', async () => {
  let ends = 0;
  // What was written stays, what follows does not happen, and whoever takes over reads it again.
  const dying = (store: HotStore): HotStore => ({
    async upsert(table, rows) {
      const answer = await store.upsert(table, rows);
      if (ends++ < 6) throw new MillraceError('COMMIT_UNKNOWN', 'killed here');
      return answer;
    },
  });
  await using _sink = await pipeline.run({ wrap: dying });
  for (const revision of [3, 1, 2, 5, 4]) await pipeline.send(revision, 200);
  await pipeline.expectNewest();
  await eventually(async () => (await pipeline.lag()) === 0n);
  expect(ends).toBeGreaterThan(6);
});

test('a table that was lost, or has revisions from before a reset, is built anew from the topics', async () => {
  const sink = await pipeline.run();
  await pipeline.send(3, 100);
  await pipeline.expectNewest();
  await expect(pipeline.rebuild()).rejects.toMatchObject({ code: 'GROUP_ACTIVE' });
  await pipeline.expectNewest();
  await sink[Symbol.asyncDispose]();
  await pipeline.spoil();
  await pipeline.rebuild();
  await using _next = await pipeline.run();
  await pipeline.expectNewest();
});

interface RunOptions {
  readonly answerTimeoutMs?: number;
  readonly wrap?: (store: HotStore) => HotStore;
}

/** The topics of the sink under names of their own, a database of its own, and a link before it. */
class Pipeline implements AsyncDisposable {
  readonly metrics = new Metrics({ node: false });
  readonly #suffix = `it${process.pid}${Date.now()}`;
  readonly #schemas = new MemorySchemas();
  readonly #newest = new Map<string, number>();
  readonly log: Log;
  readonly link: Link;
  readonly #database: TestDatabase;
  readonly #admin: TopicAdmin;

  private constructor(kafka: KafkaLog, link: Link, database: TestDatabase, admin: TopicAdmin) {
    this.log = new RenamedLog(kafka, this.#suffix);
    this.link = link;
    this.#database = database;
    this.#admin = admin;
  }

  static async open(): Promise<Pipeline> {
    const database = await testDatabase(testConfig());
    const link = await Link.open({ port: Number(new URL(database.url).port) });
    const admin = await TopicAdmin.open({ brokers, clientId: 'it-admin' });
    const pipeline = new Pipeline(new KafkaLog({ brokers, clientId: 'it' }), link, database, admin);
    await admin.create(pipeline.#topics.map((name) => ({ name, partitions, settings: {} })));
    return pipeline;
  }

  get #topics(): string[] {
    return [...hotTopics, 'hot-store.dead'].map((name) => `${name}.${this.#suffix}`);
  }

  get #name(): string {
    return `hot-store-${this.#suffix}`;
  }

  async run({ answerTimeoutMs = 10_000, wrap = (store) => store }: RunOptions = {}) {
    const url = new URL(this.#database.url);
    url.port = String(this.link.port);
    const store = new PostgresHotStore({ url: url.href, connectTimeoutMs: 1_000, answerTimeoutMs });
    const { metrics, log } = this;
    const settings = { batchRows: 100, flushMs: 50 };
    const { handler, topics } = await hotStoreSink({ schemas: this.#schemas, store: wrap(store), settings, metrics });
    const events: RunnerEvent[] = [];
    const sink = {
      events,
      failed: undefined as unknown,
      [Symbol.asyncDispose]: async () => {
        await runner[Symbol.asyncDispose]();
        await store[Symbol.asyncDispose]();
      },
    };
    const runner = await Runner.start({
      log,
      name: this.#name,
      inputs: topics.map((name) => [name] as [string]),
      factory: handler,
      metrics: (at) => metrics.task({ name: 'hot-store', ...at }),
      fetchBytes: 64 * 1024,
      queueRecords: 500,
      onEvent: (event) => events.push(event),
    });
    runner.done.catch((error: unknown) => {
      sink.failed = error;
    });
    await eventually(async () => events.filter(({ kind }) => kind === 'running').length >= partitions * topics.length);
    return sink;
  }

  /** So many candles of a revision, over three days and all partitions. */
  async send(revision: number, count: number): Promise<void> {
    const encoder = await AvroEncoder.open(this.#schemas, `${topic}-value`, contracts.candle);
    const records = Array.from({ length: count }, (_, i) => {
      const value = candle({
        symbol: `S${i}`,
        window_start: start + BigInt(i % 3) * 1_440n * minute,
        revision,
        trade_count: BigInt(revision),
      });
      const key = `${value.symbol}`;
      this.#newest.set(key, Math.max(revision, this.#newest.get(key) ?? 0));
      return {
        topic,
        partition: i % partitions,
        key: Buffer.from(key),
        value: encoder.encode(value),
        timestamp: 1_700_000_000_000n,
      };
    });
    // Partitions that were just made may have no leader yet. What is sent twice is a redelivery.
    await eventually(async () => {
      await using writer = await this.log.writer(`source-${this.#suffix}`);
      await writer.transact({ records });
      return true;
    });
  }

  /** The table comes to what the newest revisions of the topic are, row by row. */
  async expectNewest(): Promise<void> {
    const wanted = [...this.#newest].map(([symbol, revision]) => `${symbol} ${revision} ${revision}`).sort();
    const read = async (): Promise<string[]> => {
      const { rows } = await this.#database.client.query<{ symbol: string; revision: number; trade_count: string }>(
        'SELECT symbol, revision, trade_count FROM hot.candles',
      );
      return rows.map(({ symbol, revision, trade_count }) => `${symbol} ${revision} ${trade_count}`).sort();
    };
    await eventually(async () => (await read()).join() === wanted.join());
  }

  /** Rows that no revision of the topic can replace, and one that is gone. */
  async spoil(): Promise<void> {
    await this.#database.client.query(
      `UPDATE hot.candles SET revision = 100; DELETE FROM hot.candles WHERE symbol = 'S7'`,
    );
  }

  async rebuild(): Promise<void> {
    await using groups = await GroupAdmin.open({ brokers, clientId: 'it-groups' });
    const options = { log: this.log, groups, name: this.#name };
    await rebuild(options, await planRebuild(options), this.#database.client);
  }

  async lag(): Promise<bigint> {
    const [ends, committed] = await Promise.all([this.log.ends(topic), this.log.committed(groupOf(this.#name), topic)]);
    return ends.reduce(
      (sum, end, at) => sum + end - (committed.find(({ partition }) => partition === at)?.offset ?? 0n),
      0n,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.log[Symbol.asyncDispose]();
    await this.link[Symbol.asyncDispose]();
    await this.#admin.delete(this.#topics);
    await this.#admin[Symbol.asyncDispose]();
    await this.#database[Symbol.asyncDispose]();
  }
}

/** A log whose topics have a suffix that its users do not see: tests beside it use the same names. */
class RenamedLog implements Log {
  readonly #log: Log;
  readonly #suffix: string;

  constructor(log: Log, suffix: string) {
    this.#log = log;
    this.#suffix = `.${suffix}`;
  }

  #out<T extends { readonly topic: string }>(at: T): T {
    return { ...at, topic: at.topic + this.#suffix };
  }

  #in<T extends TopicPartition>(at: T): T {
    return { ...at, topic: at.topic.slice(0, -this.#suffix.length) };
  }

  join(options: JoinOptions): Promise<AsyncDisposable> {
    return this.#log.join({
      ...options,
      topics: options.topics.map((name) => name + this.#suffix),
      onAssigned: (assigned) => options.onAssigned(assigned.map((at) => this.#in(at))),
    });
  }

  fetcher(): Fetcher {
    const fetcher = this.#log.fetcher();
    return {
      fetch: async (positions, options) => {
        const fetched = await fetcher.fetch(
          positions.map((at) => this.#out(at)),
          options,
        );
        return fetched.map(({ topic: name, partition, from, next, records, end }): Fetched => {
          return this.#in({ topic: name, partition, from, next, records, end });
        });
      },
      [Symbol.asyncDispose]: () => fetcher[Symbol.asyncDispose](),
    };
  }

  async writer(transactionalId: string): Promise<Writer> {
    const writer = await this.#log.writer(transactionalId);
    return {
      transact: ({ records, offsets }) =>
        writer.transact({
          records: records.map((record) => this.#out(record)),
          ...(offsets && { offsets: { ...offsets, positions: offsets.positions.map((at) => this.#out(at)) } }),
        }),
      [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
    };
  }

  async committed(group: string, name: string): Promise<readonly Committed[]> {
    return (await this.#log.committed(group, name + this.#suffix)).map((at) => this.#in(at));
  }

  starts(name: string): Promise<readonly bigint[]> {
    return this.#log.starts(name + this.#suffix);
  }

  ends(name: string): Promise<readonly bigint[]> {
    return this.#log.ends(name + this.#suffix);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#log[Symbol.asyncDispose]();
  }
}
