import { dayId, daysTopic, readDays } from '../../core/archive/listing/days.ts';
import { readObjects } from '../../core/archive/listing/objects.ts';
import { endOfReplacements, readReplacements, takesOff } from '../../core/archive/replacements.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import type { AvroEncoder } from '../../core/avro/encoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { inLanes } from '../../core/lanes.ts';
import type { Fetched, OutRecord } from '../../core/log/log.ts';
import type { Metrics, TaskMetrics } from '../../core/observability/metrics.ts';
import type { Beat, Handler, Ownership } from '../../core/runtime/handler.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchiveReplacement } from '../../schemas/gen/archive_replacement.ts';
import { type ArchivedTopic, archivedTopics, objectsTopic } from '../../schemas/topics.ts';
import { PassedTime } from './passed.ts';
import { formatPlan, type Plan, parsePlan } from './plan.ts';
import { byDay, type DayChanges, TopicDays } from './topic-days.ts';
import { waitingOf } from './waiting.ts';
import { DayWriter } from './writer.ts';

export interface ManifestSettings {
  /** Wall time between two steps of a topic; longer after a step that wrote more than `filesPerInterval` files. */
  readonly intervalMs: number;
  /** How far log time has to be past the end of a day before the day is complete. */
  readonly latenessMs: number;
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
  /** Wall clock in milliseconds: when to take a step, never what is in it. */
  readonly now: () => number;
}

/** Most object records, and days, of one step: what is in memory at once, and one transaction. */
const recordsPerStep = 5_000;
const daysPerStep = 500;
/** Replaced keys after which a step takes no further day: a compaction of many days while nobody wrote manifests. */
const keysPerStep = 100_000;
/** Days that are written side by side, each with one manifest in memory. */
const lanes = 4;
/** A manifest lists the whole day, so days with many files are written less often: this many files an interval. */
const filesPerInterval = 1_000;

/**
 * Keeps the manifests of all archived topics. It owns `archive.partitions`, whose records are its state, and reads the objects topics
 * whole: a day has objects of every partition. A step of a topic is three, and a crash after any of them makes the next owner do the same:
 *
 *   1. commit the plan as metadata of the offset: which object records it takes, and up to where days are complete
 *   2. write the manifest of each day that got objects, then the `_SUCCESS` object of each day that is complete now
 *   3. commit how these days stand, and with it the positions, and drop the plan, in one transaction
 *
 * Nothing is in memory only: how the days stand is read back when the task is taken over.
 */
export class ManifestHandler implements Handler {
  readonly #env: ManifestEnvironment;
  readonly #own: Ownership;
  readonly #passed: PassedTime;
  readonly #writer: DayWriter;
  readonly #topics = new Map<ArchivedTopic, TopicDays>();
  /** When the next step of a topic is due. */
  readonly #dueMs = new Map<ArchivedTopic, number>();
  #measuredMs: number | undefined;
  /** In the task's own topic. */
  #position = 0n;

  constructor(ownership: Ownership, environment: ManifestEnvironment) {
    this.#own = ownership;
    this.#env = environment;
    const { signal } = ownership;
    this.#passed = new PassedTime(ownership.log, signal);
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
    // The metadata is that of the last commit, whatever the offset is: nothing but the task's own records is read here.
    const plan = parsePlan(committed?.metadata ?? '');
    this.#position = (await log.ends(daysTopic))[0] ?? 0n;
    if (plan !== undefined) await this.#finish(plan, ...(await this.#take(plan)));
    for (const topic of archivedTopics) this.#show(this.#daysOf(topic));
    this.#env.taskMetrics.takenOver((this.#env.now() - startedMs) / 1000);
    return [this.#position];
  }

  /** Its own records. */
  async process(fetched: Fetched): Promise<void> {
    this.#position = fetched.next;
  }

  async beat({ logTime }: Beat): Promise<void> {
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

  /** Steps until everything is taken that was listed when the last one began. Returns how many files were written into manifests. */
  async #step(days: TopicDays): Promise<number> {
    const { topic } = days;
    // In this order: what the archive has passed is listed before the ends that are asked for next.
    await this.#passed.advance(topic);
    let files = 0;
    // A day is complete when an interval has brought nothing for it: while history is loaded, days are not opened and closed all the time.
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
      const plan: Plan = { topic, complete, ...range };
      await this.#transact([], formatPlan(plan));
      files += await this.#finish(plan, objects, taken);
      quiet &&= objects.length === 0;
      this.#env.taskMetrics.processed(objects.length);
    }
    this.#show(days);
    return files;
  }

  #completeness(topic: ArchivedTopic): Plan['complete'] {
    const passed = this.#passed.of(topic);
    return passed === undefined
      ? undefined
      : { passed, through: passed - BigInt(this.#env.settings.latenessMs) * 1000n };
  }

  /**
   * What a step takes from where the last one ended, at most so much that memory and a transaction hold it. Replacements come when all
   * object records are taken that were there before them: so what they replace is known.
   */
  async #next(days: TopicDays): Promise<Taken & Pick<Plan, 'ends' | 'replacements' | 'time'>> {
    const { log, signal } = this.#own;
    // In this order: what is replaced before this end is listed before the ends that are asked for next.
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
      // Never within a day: its mark must not tell of a half.
      if (isFull && !touched.has(replacement.day)) {
        return { objects, replacements: offset, taken, ends: to, time, more: true };
      }
      taken.push(replacement);
      touched.add(replacement.day);
      keys += replacement.replaced.length;
    }
    return { objects, replacements: replaced, taken, ends: to, time, more: false };
  }

  /** What a planned step takes. */
  async #take({ topic, ends, replacements }: Plan): Promise<[readonly ArchiveObject[], readonly ArchiveReplacement[]]> {
    const days = this.#daysOf(topic);
    const objects = await this.#read(topic, days.positions, ends);
    const taken: ArchiveReplacement[] = [];
    for await (const { replacement } of this.#replacements(topic, { from: days.replacements, to: replacements })) {
      taken.push(replacement);
    }
    return [objects, taken];
  }

  /** All of a day that its manifest takes into account. */
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

  /** Replacements of one topic, or of one day of it; without plans, which change nothing. */
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

  /** Steps 2 and 3. Returns how many files were written into manifests. */
  async #finish(
    plan: Plan,
    objects: readonly ArchiveObject[],
    replacements: readonly ArchiveReplacement[],
  ): Promise<number> {
    const { topic, complete, time } = plan;
    const days = this.#daysOf(topic);
    const touched = byDay(objects, replacements);
    const listed = await inLanes([...touched], lanes, ([day, own]) =>
      this.#writer.list(topic, day, days.get(day), own, plan),
    );
    const due = complete === undefined ? [] : days.due(complete.through, touched);
    const completed = await inLanes(due, lanes, (day) => this.#writer.complete(day, complete?.passed ?? 0n));
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

  /** How old the oldest record is that is not in a listed object: read from the log, so also of partitions that no sink has taken. */
  async #measure(topic: ArchivedTopic): Promise<void> {
    const { log, signal } = this.#own;
    await using fetcher = log.fetcher();
    const reader = { group: groupOf('parquet'), topic };
    for await (const { partition, waiting } of waitingOf(log, fetcher, reader, await log.ends(topic), signal)) {
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

interface Taken {
  readonly objects: readonly ArchiveObject[];
  readonly taken: readonly ArchiveReplacement[];
  /** There is more to take. */
  readonly more: boolean;
}
