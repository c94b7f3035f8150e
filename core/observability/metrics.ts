import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { errorCodes } from '../base/errors.ts';
import { CaptureMetrics } from './capture.ts';
import { Oldest } from './oldest.ts';

/** Who is counted: `name` is the processor's or sink's, topic and partition are its input's. */
export interface TaskLabels {
  readonly name: string;
  readonly topic: string;
  readonly partition: number;
}

/** Who tells how old the oldest record is that is not archived. */
export type Witness = 'sink' | 'log';

const task = ['name', 'topic', 'partition'] as const;
type Task = (typeof task)[number];

export interface MetricsOptions {
  /** Node's own metrics (heap, event loop, garbage collection). Default true. */
  readonly node?: boolean;
  /** Wall clock for ages at the time of a scrape, milliseconds. Default `Date.now`. Never used for results. */
  readonly now?: () => number;
}

/**
 * Every metric of a Millrace process, one instance per process. Tasks take their handles once through `task()`.
 *
 * A metric that a rule or a dashboard names must be defined here; infra/prometheus tests it. Names carry their unit.
 */
export class Metrics {
  readonly registry: Registry = new Registry();
  readonly #now: () => number;
  readonly #tasks = new Map<string, TaskMetrics>();
  /** By topic, then by who tells it and the partition. */
  readonly #oldest = new Oldest();

  readonly recordsProcessed: Counter<Task>;
  readonly lagRecords: Gauge<Task>;
  readonly lagSeconds: Gauge<Task>;
  readonly watermarkSeconds: Gauge<'name' | 'partition'>;
  /** Per processor that follows heartbeats. Set it to now at the start, so that one that never comes is missed too. */
  readonly heartbeatSeconds: Gauge<'name'>;
  readonly late: Counter<'name'>;
  readonly deadLetters: Counter<'name' | 'reason'>;
  readonly duplicates: Counter<'name'>;
  readonly backfilled: Counter<'name'>;
  readonly commits: Counter<'name'>;
  readonly aborts: Counter<'name' | 'reason'>;
  readonly takeovers: Counter<'name'>;
  readonly commitSeconds: Histogram<'name'>;
  readonly restoreSeconds: Histogram<'name'>;
  /** By `run`, from the start on: 0 while a processor or sink of the process has failed. */
  readonly stageUp: Gauge<'name'>;
  readonly taskPaused: Gauge<'name' | 'topic' | 'partition'>;
  /** 0 when nothing is being restored. */
  readonly restoreRemaining: Gauge<'name' | 'partition'>;
  readonly stateMisses: Gauge<'name' | 'partition'>;
  readonly stateEntries: Gauge<'name' | 'partition'>;
  readonly foldGauges: Gauge<'name' | 'partition' | 'gauge'>;

  readonly sinkRows: Counter<'name' | 'topic'>;
  readonly sinkBytes: Counter<'name' | 'topic'>;
  readonly sinkFiles: Counter<'name' | 'topic'>;
  readonly sinkUploadSeconds: Histogram<'name'>;
  readonly sinkUploadRetries: Counter<'name'>;
  /** Filled at each scrape from `coldStorageOldest`. */
  readonly coldStorageLagSeconds: Gauge<'topic'>;
  readonly archiveDays: Gauge<'topic' | 'state'>;
  readonly archivePassedSeconds: Gauge<'topic'>;
  readonly archiveFiles: Gauge<'topic'>;
  readonly archiveBytes: Gauge<'topic'>;

  readonly hotStoreBreakerOpen: Gauge;
  /** Filled at each scrape from `hotStoreOldest`. */
  readonly hotStoreLagSeconds: Gauge<'topic'>;
  /** Log time, milliseconds, of the oldest record of a partition that is not in the hot store. */
  readonly hotStoreOldest: Oldest = new Oldest();

  readonly capture: CaptureMetrics;
  readonly buildInfo: Gauge<'version' | 'node'>;

  constructor(options: MetricsOptions = {}) {
    this.#now = options.now ?? Date.now;
    const registers = [this.registry];
    const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
      new Counter<L>({ name, help, labelNames: [...labelNames], registers });
    const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[]): Gauge<L> =>
      new Gauge<L>({ name, help, labelNames: [...labelNames], registers });
    const histogram = <L extends string>(name: string, help: string, labelNames: readonly L[], buckets: number[]) =>
      new Histogram<L>({ name, help, labelNames: [...labelNames], buckets, registers });

    this.recordsProcessed = counter('millrace_records_processed_total', 'Input records taken by a task.', task);
    this.stageUp = gauge(
      'millrace_stage_up',
      '0 from the failure of a processor or sink of this process until it runs again for a minute; the others go on.',
      ['name'],
    );
    this.lagRecords = gauge('millrace_lag_records', 'Offsets between a task and the end of its partition.', task);
    this.lagSeconds = gauge('millrace_lag_seconds', 'Log time between a task and the newest record known to it.', task);
    this.watermarkSeconds = gauge(
      'millrace_watermark_seconds',
      'Log time that a task has reached, seconds since the epoch; a heartbeat moves it only when a window is due.',
      ['name', 'partition'],
    );
    this.heartbeatSeconds = gauge(
      'millrace_heartbeat_seconds',
      'Log time of the newest heartbeat row that was read, seconds since the epoch; before the first one, the start.',
      ['name'],
    );
    this.late = counter('millrace_late_total', 'Late records written to the late topic.', ['name']);
    this.deadLetters = counter(
      'millrace_dead_letters_total',
      'Records written to a dead-letter topic, by error code.',
      ['name', 'reason'],
    );
    this.duplicates = counter('millrace_duplicates_total', 'Repeated changes that were recognised and dropped.', [
      'name',
    ]);
    this.backfilled = counter('millrace_backfilled_total', 'Rows of a backfill that were passed over, not folded.', [
      'name',
    ]);
    this.commits = counter('millrace_commits_total', 'Committed transactions.', ['name']);
    this.aborts = counter(
      'millrace_aborts_total',
      'Transactions that failed or whose outcome is unknown, by error code.',
      ['name', 'reason'],
    );
    this.takeovers = counter('millrace_takeovers_total', 'Partitions taken over, the first time included.', ['name']);
    this.commitSeconds = histogram(
      'millrace_commit_seconds',
      'Duration of one transaction, begin to commit acknowledged.',
      ['name'],
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    );
    this.restoreSeconds = histogram(
      'millrace_restore_seconds',
      'Duration of restoring state from the changelog when a partition is taken over.',
      ['name'],
      [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    );
    this.taskPaused = gauge('millrace_task_paused', '1 while an operator has paused the task, 0 otherwise.', [
      'name',
      'topic',
      'partition',
    ]);
    this.restoreRemaining = gauge(
      'millrace_restore_remaining_offsets',
      'Offsets of the changelog between what a takeover has restored and its barrier; 0 when nothing is being restored.',
      ['name', 'partition'],
    );
    this.stateMisses = gauge(
      'millrace_state_synchronous_reads',
      'Reads of state on disk that a fold had to wait for, since the takeover, because the declaration did not name the key.',
      ['name', 'partition'],
    );
    this.stateEntries = gauge('millrace_state_entries', 'Keys held in a task state.', ['name', 'partition']);

    this.foldGauges = gauge('millrace_fold', 'What a processor says of itself, e.g. its open windows.', [
      'name',
      'partition',
      'gauge',
    ]);

    this.sinkRows = counter(
      'millrace_sink_rows_total',
      'Rows in committed objects, and rows that changed the hot store.',
      ['name', 'topic'],
    );
    this.sinkBytes = counter('millrace_sink_bytes_total', 'Bytes of committed objects.', ['name', 'topic']);
    this.sinkFiles = counter('millrace_sink_files_total', 'Committed objects.', ['name', 'topic']);
    this.sinkUploadSeconds = histogram(
      'millrace_sink_upload_seconds',
      'Duration of the upload of one object, retries included.',
      ['name'],
      [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    );
    this.sinkUploadRetries = counter('millrace_sink_upload_retries_total', 'Uploads tried again.', ['name']);
    this.coldStorageLagSeconds = new Gauge({
      name: 'cold_storage_lag_seconds',
      help: 'Age of the oldest record that is in the topic and not yet in a committed object; 0 when all is archived.',
      labelNames: ['topic'],
      registers,
      collect: () => this.#oldest.show(this.coldStorageLagSeconds, this.#now()),
    });

    this.archiveDays = gauge('millrace_archive_days', 'Days that the archive has manifests of, by state.', [
      'topic',
      'state',
    ]);
    this.archiveFiles = gauge('millrace_archive_files', 'Files that the newest manifests of all days list.', ['topic']);
    this.archiveBytes = gauge(
      'millrace_archive_bytes',
      'Length of the files that the newest manifests of all days list.',
      ['topic'],
    );
    this.archivePassedSeconds = gauge(
      'millrace_archive_passed_seconds',
      'Log time that the archive of every partition has passed, seconds since the epoch; days that ended before it by the lateness are complete.',
      ['topic'],
    );

    this.hotStoreBreakerOpen = new Gauge({
      name: 'millrace_hot_store_breaker_open',
      help: '1 while the hot store does not take what it is given, and is asked from time to time only; 0 otherwise.',
      registers,
    });
    this.hotStoreLagSeconds = new Gauge({
      name: 'millrace_hot_store_lag_seconds',
      help: 'Age of the oldest record that was read and is not in the hot store; 0 when all is.',
      labelNames: ['topic'],
      registers,
      collect: () => this.hotStoreOldest.show(this.hotStoreLagSeconds, this.#now()),
    });

    this.capture = new CaptureMetrics(this.registry);
    this.buildInfo = gauge('millrace_build_info', 'Always 1; the labels tell what is running.', ['version', 'node']);
    if (options.node !== false) collectDefaultMetrics({ register: this.registry });
  }

  /** The handles of one task, the same ones for the same labels. Dispose when the partition goes to another owner, not when the task merely starts again. */
  task(labels: TaskLabels): TaskMetrics {
    const key = `${labels.name} ${labels.topic} ${labels.partition}`;
    const known = this.#tasks.get(key);
    if (known !== undefined) return known;
    const task = new TaskMetrics(this, labels, () => this.#tasks.delete(key));
    this.#tasks.set(key, task);
    return task;
  }

  /**
   * Tells since when a partition's oldest unarchived record exists (log time, milliseconds since the epoch); undefined when all is
   * archived. The age is computed at each scrape, so a sink that hangs shows a growing lag. One value per topic: its worst partition, as
   * the worst of those says who tell of it.
   *
   * @param by the sink tells of what it has taken; who reads the log tells of partitions that no sink has taken, too
   */
  coldStorageOldest(topic: string, partition: number, logTimeMs: number | undefined, by: Witness = 'sink'): void {
    this.#oldest.set(topic, `${by} ${partition}`, logTimeMs);
  }

  /** The partition has another owner now. */
  forgetColdStorage(topic: string, partition: number, by: Witness = 'sink'): void {
    this.#oldest.forget(topic, `${by} ${partition}`);
  }

  /** Names of all metrics as a rule can use them: a histogram counts as its three series. */
  names(): readonly string[] {
    return this.registry
      .getMetricsAsArray()
      .flatMap((metric) =>
        metric instanceof Histogram
          ? [`${metric.name}_bucket`, `${metric.name}_sum`, `${metric.name}_count`]
          : [metric.name],
      );
  }
}

/** One task's metrics with the labels bound. All methods are synchronous and cheap enough for once per batch. */
export class TaskMetrics implements Disposable {
  readonly #metrics: Metrics;
  readonly #labels: { name: string; topic: string; partition: number };
  readonly #foldGauges = new Set<string>();
  #archives = false;

  readonly #onDispose: () => void;

  constructor(metrics: Metrics, labels: TaskLabels, onDispose: () => void) {
    this.#metrics = metrics;
    this.#onDispose = onDispose;
    this.#labels = { name: labels.name, topic: labels.topic, partition: labels.partition };
    // A counter that exists from the start at 0 lets increase() see the first event.
    const { name } = labels;
    metrics.recordsProcessed.inc(this.#labels, 0);
    for (const counter of [metrics.late, metrics.duplicates, metrics.backfilled, metrics.commits, metrics.takeovers])
      counter.inc({ name }, 0);
    for (const [reason, disposition] of Object.entries(errorCodes)) {
      if (disposition === 'deadLetter') metrics.deadLetters.inc({ name, reason }, 0);
      if (disposition === 'retry') metrics.aborts.inc({ name, reason }, 0);
    }
  }

  processed(records: number): void {
    this.#metrics.recordsProcessed.inc(this.#labels, records);
  }

  /** Offsets and log-time seconds behind the newest record known. */
  lag(records: number | bigint, seconds: number): void {
    this.#metrics.lagRecords.set(this.#labels, Number(records));
    this.#metrics.lagSeconds.set(this.#labels, Math.max(0, seconds));
  }

  /** Log time reached, microseconds since the epoch. */
  watermark(micros: bigint): void {
    this.#metrics.watermarkSeconds.set(this.#ownPartition(), Number(micros / 1000n) / 1000);
  }

  late(records = 1): void {
    this.#metrics.late.inc({ name: this.#labels.name }, records);
  }

  /** @param reason the error code */
  deadLetter(reason: string, records = 1): void {
    this.#metrics.deadLetters.inc({ name: this.#labels.name, reason }, records);
  }

  duplicate(records = 1): void {
    this.#metrics.duplicates.inc({ name: this.#labels.name }, records);
  }

  backfilled(records = 1): void {
    this.#metrics.backfilled.inc({ name: this.#labels.name }, records);
  }

  committed(seconds: number): void {
    this.#metrics.commits.inc({ name: this.#labels.name });
    this.#metrics.commitSeconds.observe({ name: this.#labels.name }, seconds);
  }

  /** @param reason the error code */
  aborted(reason: string): void {
    this.#metrics.aborts.inc({ name: this.#labels.name, reason });
  }

  takenOver(restoreSeconds: number): void {
    this.#metrics.takeovers.inc({ name: this.#labels.name });
    this.#metrics.restoreSeconds.observe({ name: this.#labels.name }, restoreSeconds);
  }

  /** By order of an operator. */
  paused(paused: boolean): void {
    this.#metrics.taskPaused.set(this.#labels, paused ? 1 : 0);
  }

  /** @param synchronousReads of stores on disk, since the takeover. */
  state(entries: number, synchronousReads = 0): void {
    this.#metrics.stateEntries.set(this.#ownPartition(), entries);
    this.#metrics.stateMisses.set(this.#ownPartition(), synchronousReads);
  }

  /** Offsets of the changelog that a restore has yet to read. */
  restoring(remaining: bigint): void {
    this.#metrics.restoreRemaining.set(this.#ownPartition(), Number(remaining));
  }

  /** What the fold says of itself, by name. */
  fold(gauges: Readonly<Record<string, number>>): void {
    for (const [gauge, value] of Object.entries(gauges)) {
      this.#foldGauges.add(gauge);
      this.#metrics.foldGauges.set({ ...this.#ownPartition(), gauge }, value);
    }
  }

  /** Objects of one committed cut. */
  archived(objects: { readonly files: number; readonly rows: number; readonly bytes: number }): void {
    const labels = { name: this.#labels.name, topic: this.#labels.topic };
    this.#metrics.sinkFiles.inc(labels, objects.files);
    this.#metrics.sinkRows.inc(labels, objects.rows);
    this.#metrics.sinkBytes.inc(labels, objects.bytes);
  }

  /** See `Metrics.coldStorageOldest`. */
  unarchivedSince(logTimeMs: number | undefined): void {
    this.#archives = true;
    this.#metrics.coldStorageOldest(this.#labels.topic, this.#labels.partition, logTimeMs);
  }

  /** Removes this task's gauges, so that a partition that moved is not shown twice. Counters stay. Idempotent. */
  [Symbol.dispose](): void {
    this.#onDispose();
    this.#metrics.lagRecords.remove(this.#labels);
    this.#metrics.lagSeconds.remove(this.#labels);
    this.#metrics.taskPaused.remove(this.#labels);
    this.#metrics.watermarkSeconds.remove(this.#ownPartition());
    this.#metrics.stateEntries.remove(this.#ownPartition());
    this.#metrics.stateMisses.remove(this.#ownPartition());
    this.#metrics.restoreRemaining.remove(this.#ownPartition());
    for (const gauge of this.#foldGauges) this.#metrics.foldGauges.remove({ ...this.#ownPartition(), gauge });
    // Other tasks of this process read the same topic.
    if (this.#archives) this.#metrics.forgetColdStorage(this.#labels.topic, this.#labels.partition);
  }

  #ownPartition(): { name: string; partition: number } {
    return { name: this.#labels.name, partition: this.#labels.partition };
  }
}
