import { dayId, daysTopic, readDays } from '../../core/archive/listing/days.ts';
import { readObjects } from '../../core/archive/listing/objects.ts';
import { endOfReplacements, readReplacements, takesOff } from '../../core/archive/replacements.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import type { AvroEncoder } from '../../core/avro/encoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { mapConcurrently } from '../../core/base/map-concurrently.ts';
import type { Fetched, OutRecord } from '../../core/log/log.ts';
import type { Metrics, TaskMetrics } from '../../core/observability/metrics.ts';
import type { Handler, Heartbeat, Ownership } from '../../core/runtime/handler.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchiveReplacement } from '../../schemas/gen/archive_replacement.ts';
import { type ArchivedTopic, archivedTopics, objectsTopic } from '../../schemas/topics.ts';
import { ArchiveProgress } from './archive-progress.ts';
import { nextRecords } from './next-records.ts';
import { formatPlan, type ManifestPlan, parsePlan } from './plan.ts';
import { byDay, type DayChanges, TopicDays } from './topic-days.ts';
import { DayWriter } from './writer.ts';

export interface ManifestSettings {
  /** Wall time between two steps of a topic, milliseconds. Longer after a step that wrote more than `filesPerInterval` files. */
  readonly intervalMs: number;
  /** A day is complete when log time has passed its end by this much, milliseconds. */
  readonly watermarkDelayMs: number;
}

export interface ManifestEnvironment {
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly settings: ManifestSettings;
  /** Normal prefix: empty or ending with a slash. */
  readonly prefix: string;
  readonly epoch: string;
  readonly encoder: AvroEncoder<ArchivePartition>;
  readonly metrics: Metrics;
  readonly taskMetrics: TaskMetrics;
  /** Wall clock in milliseconds. It decides when a step runs and never what it writes. */
  readonly now: () => number;
}

/** Most object records, and most days, of one step. It bounds memory and the size of a transaction. */
const recordsPerStep = 5_000;
const daysPerStep = 500;
/** Replaced keys after which a step takes no further day. It matters after a compaction of many days without a manifest in between. */
const keysPerStep = 100_000;
/** Days that are written concurrently, each with one manifest in memory. */
const concurrency = 4;
/** Files that may be written per interval. A manifest lists the whole day, so days with many files are written less often. */
const filesPerInterval = 1_000;

/**
 * Keeps the manifests of all archived topics. It owns `archive.partitions`, whose records are its state. It reads all partitions of the
 * objects topics, because a day has objects of every partition. A step of a topic has three parts. After a crash in any of them, the next
 * owner does the same step again:
 *
 *   1. commit the plan as metadata of the offset: the object records that it takes, and the time up to which days are complete
 *   2. write the manifest of each day with new objects, then the `_SUCCESS` object of each newly complete day
 *   3. commit the new state of these days, and with it the positions, and drop the plan, in one transaction
 *
 * No state is in memory only: a takeover reads the state of the days back.
 */
export class ManifestHandler implements Handler {
  readonly #env: ManifestEnvironment;
  readonly #own: Ownership;
  readonly #passed: ArchiveProgress;
  readonly #writer: DayWriter;
  readonly #topics = new Map<ArchivedTopic, TopicDays>();
  /** Time at which the next step of a topic is due, milliseconds. */
  readonly #dueMs = new Map<ArchivedTopic, number>();
  #measuredMs: number | undefined;
  /** Position in the task's own topic. */
  #position = 0n;

  constructor(ownership: Ownership, environment: ManifestEnvironment) {
    this.#own = ownership;
    this.#env = environment;
    const { signal } = ownership;
    this.#passed = new ArchiveProgress(ownership.log, signal);
    const { store, prefix, epoch, taskMetrics } = environment;
    this.#writer = new DayWriter({
      store,
      prefix,
      epoch,
      signal,
      recall: (day) => this.#recall(day),
      replacedIn: (topic, day, end) => this.#replacedIn(topic, day, end),
      onRepeated: () => taskMetrics.duplicate(),
    });
  }

  async open(): Promise<readonly bigint[]> {
    const { log, committed, signal } = this.#own;
    const startedMs = this.#env.now();
    const days = await readDays(log, this.#env.schemas, signal);
    for (const topic of archivedTopics) {
      this.#topics.set(topic, new TopicDays(topic, await log.starts(objectsTopic(topic)), days));
    }
    // The metadata is that of the last commit, at any offset, because the task reads only its own records here.
    const plan = parsePlan(committed?.metadata ?? '');
    this.#position = (await log.ends(daysTopic))[0] ?? 0n;
    if (plan !== undefined) await this.#finish(plan, ...(await this.#take(plan)));
    for (const topic of archivedTopics) this.#show(this.#daysOf(topic));
    this.#env.taskMetrics.takenOver((this.#env.now() - startedMs) / 1000);
    return [this.#position];
  }

  /** Skips the records of its own topic, which it wrote itself. */
  async process(fetched: Fetched): Promise<void> {
    this.#position = fetched.next;
  }

  async beat({ logTime }: Heartbeat): Promise<void> {
    this.#passed.beat(logTime);
  }

  async tick(): Promise<void> {
    const { now, settings } = this.#env;
    if (this.#measuredMs === undefined || now() - this.#measuredMs >= settings.intervalMs) {
      this.#measuredMs = now();
      for (const topic of archivedTopics) await this.#measure(topic);
    }
    for (const topic of archivedTopics) {
      if (now() < (this.#dueMs.get(topic) ?? 0)) continue;
      const files = await this.#step(this.#daysOf(topic));
      this.#dueMs.set(topic, now() + settings.intervalMs * Math.max(1, files / filesPerInterval));
    }
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {
    const { metrics } = this.#env;
    for (const [topic, { positions }] of this.#topics) {
      metrics.archivePassedSeconds.remove({ topic });
      for (const state of ['OPEN', 'COMPLETE', 'REOPENED', 'EXPIRED'] as const)
        metrics.archiveDays.remove({ topic, state });
      metrics.archiveFiles.remove({ topic });
      metrics.archiveBytes.remove({ topic });
      for (const partition of positions.keys()) metrics.forgetColdStorage(topic, partition, 'log');
    }
  }

  /** Repeats steps until they have taken all objects that were listed at the start. Returns the number of files written into manifests. */
  async #step(days: TopicDays): Promise<number> {
    const { topic } = days;
    // Progress first, then ends: all that the archive has passed is listed before those ends.
    await this.#passed.advance(topic);
    let files = 0;
    // A day is complete only after an interval without new objects. So loading history does not open and close days all the time.
    let quiet = true;
    for (;;) {
      const { objects, taken, more, ...range } = await this.#next(days);
      const complete = more || !quiet ? undefined : this.#completeness(topic);
      const touched = byDay(objects, taken);
      const due = complete === undefined ? [] : days.due(complete.through, touched);
      if (touched.size === 0 && due.length === 0) {
        days.passReplacements(range.replacements);
        break;
      }
      const plan: ManifestPlan = { topic, complete, ...range };
      await this.#transact([], formatPlan(plan));
      files += await this.#finish(plan, objects, taken);
      quiet &&= objects.length === 0;
      this.#env.taskMetrics.processed(objects.length);
    }
    this.#show(days);
    return files;
  }

  #completeness(topic: ArchivedTopic): ManifestPlan['complete'] {
    const passed = this.#passed.of(topic);
    return passed === undefined
      ? undefined
      : { passed, through: passed - BigInt(this.#env.settings.watermarkDelayMs) * 1000n };
  }

  /**
   * The next step's input, bounded by memory and the size of a transaction. Replacements follow after all object records that were there
   * before them, so the objects that they replace are known.
   */
  async #next(days: TopicDays): Promise<ObjectBatch & Pick<ManifestPlan, 'ends' | 'replacements' | 'time'>> {
    const { log, signal } = this.#own;
    // Replacements first, then ends: all that was replaced before this end is listed before those ends.
    const replaced = await endOfReplacements(log);
    const to = await log.ends(objectsTopic(days.topic));
    const ends = to.map((_, partition) => days.positions[partition] ?? 0n);
    const objects: ArchiveObject[] = [];
    const touched = new Set<string>();
    let time = (this.#passed.newest ?? 0n) / 1000n;
    for await (const { partition, records } of readObjects(
      log,
      this.#env.schemas,
      days.topic,
      { from: ends, to },
      signal,
    )) {
      for (const { offset, timestamp, object } of records) {
        if (objects.length >= recordsPerStep || (touched.size >= daysPerStep && !touched.has(object.day))) {
          return { objects, replacements: days.replacements, taken: [], ends, time, more: true };
        }
        objects.push(object);
        touched.add(object.day);
        ends[partition] = offset + 1n;
        if (timestamp > time) time = timestamp;
      }
    }
    const range = { from: days.replacements, to: replaced };
    const taken: ArchiveReplacement[] = [];
    let keys = 0;
    for await (const { offset, replacement } of this.#replacements(days.topic, range)) {
      const isFull = touched.size >= daysPerStep || keys >= keysPerStep;
      // Never splits a day, because its mark must cover all its replacements.
      if (isFull && !touched.has(replacement.day)) {
        return { objects, replacements: offset, taken, ends: to, time, more: true };
      }
      taken.push(replacement);
      touched.add(replacement.day);
      keys += replacement.replaced.length;
    }
    return { objects, replacements: replaced, taken, ends: to, time, more: false };
  }

  /** Reads the input of a planned step. */
  async #take({
    topic,
    ends,
    replacements,
  }: ManifestPlan): Promise<[readonly ArchiveObject[], readonly ArchiveReplacement[]]> {
    const days = this.#daysOf(topic);
    const objects = await this.#read(topic, days.positions, ends);
    const taken: ArchiveReplacement[] = [];
    for await (const { replacement } of this.#replacements(topic, { from: days.replacements, to: replacements })) {
      taken.push(replacement);
    }
    return [objects, taken];
  }

  /** All changes of a day that its manifest covers. */
  async #recall({ topic, day, covers, replacements }: ArchivePartition): Promise<DayChanges> {
    const own = topic as ArchivedTopic;
    const starts = await this.#own.log.starts(objectsTopic(own));
    const objects = await this.#read(own, starts, covers, (each) => each === day);
    return { objects, replacements: await this.#replacementsOf(own, day, replacements) };
  }

  async #replacedIn(topic: ArchivedTopic, day: string, end: bigint): Promise<ReadonlySet<string>> {
    return new Set((await this.#replacementsOf(topic, day, end)).flatMap(({ replaced }) => replaced));
  }

  async #replacementsOf(topic: ArchivedTopic, day: string, end: bigint): Promise<readonly ArchiveReplacement[]> {
    const found: ArchiveReplacement[] = [];
    for await (const { replacement } of this.#replacements(topic, { from: 0n, to: end }, day)) found.push(replacement);
    return found;
  }

  /** Replacements of one topic, or of one of its days. Plans are left out, because they change nothing. */
  #replacements(topic: ArchivedTopic, range: { readonly from: bigint; readonly to: bigint }, day?: string) {
    const { log, signal } = this.#own;
    return readReplacements(
      log,
      this.#env.schemas,
      range,
      signal,
      (head) => head.topic === topic && (day === undefined || head.day === day) && takesOff(head) !== undefined,
    );
  }

  async #read(
    topic: ArchivedTopic,
    from: readonly bigint[],
    to: readonly bigint[],
    days?: (day: string) => boolean,
  ): Promise<readonly ArchiveObject[]> {
    const { log, signal } = this.#own;
    const objects: ArchiveObject[] = [];
    for await (const { records } of readObjects(log, this.#env.schemas, topic, { from, to, days }, signal)) {
      for (const { object } of records) objects.push(object);
    }
    return objects;
  }

  /** Steps 2 and 3. Returns the number of files written into manifests. */
  async #finish(
    plan: ManifestPlan,
    objects: readonly ArchiveObject[],
    replacements: readonly ArchiveReplacement[],
  ): Promise<number> {
    const { topic, complete, time } = plan;
    const days = this.#daysOf(topic);
    const touched = byDay(objects, replacements);
    const listed = await mapConcurrently([...touched], concurrency, ([day, own]) =>
      this.#writer.list(topic, day, days.get(day), own, plan),
    );
    const due = complete === undefined ? [] : days.due(complete.through, touched);
    const completed = await mapConcurrently(due, concurrency, (day) =>
      this.#writer.complete(day, complete?.passed ?? 0n),
    );
    const changed = [...listed, ...completed];
    await this.#transact(changed.map((day) => this.#record(day, time)));
    days.committed(changed);
    return listed.reduce((sum, { files }) => sum + Number(files), 0);
  }

  #record(day: ArchivePartition, timestamp: bigint): OutRecord {
    const { topic, partition } = this.#own;
    return { topic, partition, key: Buffer.from(dayId(day)), value: this.#env.encoder.encode(day), timestamp };
  }

  async #transact(records: readonly OutRecord[], metadata = ''): Promise<void> {
    const { group, topic, partition, writer } = this.#own;
    const { taskMetrics, now } = this.#env;
    const startedMs = now();
    try {
      const positions = [{ topic, partition, offset: this.#position, metadata }];
      await writer.transact({ records, offsets: { group, positions } });
      taskMetrics.committed((now() - startedMs) / 1000);
    } catch (error) {
      taskMetrics.aborted(error instanceof MillraceError ? error.code : 'UNKNOWN');
      throw error;
    }
  }

  /** Measures the age of the oldest record without a listed object. It reads the log, so partitions without a sink are covered too. */
  async #measure(topic: ArchivedTopic): Promise<void> {
    const { log, signal } = this.#own;
    await using fetcher = log.fetcher();
    const reader = { group: groupOf('parquet'), topic };
    for await (const { partition, waiting } of nextRecords(log, fetcher, reader, await log.ends(topic), signal)) {
      const since = typeof waiting === 'string' ? undefined : Number(waiting.timestamp);
      this.#env.metrics.coldStorageOldest(topic, partition, since, 'log');
    }
  }

  #show(days: TopicDays): void {
    const { topic } = days;
    const { metrics } = this.#env;
    for (const [state, count] of Object.entries(days.count())) metrics.archiveDays.set({ topic, state }, count);
    const { files, bytes } = days.totals();
    metrics.archiveFiles.set({ topic }, Number(files));
    metrics.archiveBytes.set({ topic }, Number(bytes));
    const passed = this.#passed.of(topic);
    if (passed !== undefined) metrics.archivePassedSeconds.set({ topic }, Number(passed / 1000n) / 1000);
  }

  #daysOf(topic: ArchivedTopic): TopicDays {
    const days = this.#topics.get(topic);
    if (days === undefined) throw new TypeError(`${topic} is not archived`);
    return days;
  }
}

interface ObjectBatch {
  readonly objects: readonly ArchiveObject[];
  readonly taken: readonly ArchiveReplacement[];
  /** Whether more input is left. */
  readonly more: boolean;
}
