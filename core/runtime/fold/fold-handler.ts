import type { Clock } from '../../base/clock.ts';
import { isError } from '../../base/errors.ts';
import { keysOf, prepareDecoder, valuesOf } from '../../log/decoding.ts';
import {
  type Fetched,
  type Fetcher,
  fetchRange,
  type LogRecord,
  type OutRecord,
  readRange,
  type TopicPartition,
} from '../../log/log.ts';
import { offsetsExpired, positionIn, resetRemedy } from '../../log/position.ts';
import type { TaskMetrics } from '../../observability/metrics.ts';
import type { Processor, Range } from '../../processor/define.ts';
import type { JournalledSettings, TaskState } from '../../state/changelog/changelog.ts';
import type { StateDirectory } from '../../state/changelog/local-copy.ts';
import type { RunningStates } from '../../state/shown/running.ts';
import { type RestoreEvent, State } from '../../state/state.ts';
import { Committer } from '../commit.ts';
import type { Beat, Handler, Ownership } from '../handler.ts';
import type { Codecs } from './codecs.ts';
import { Engine } from './engine.ts';
import { Journal } from './journal.ts';

/** When a task commits. */
export interface FoldSettings {
  /** Longest wall time between the first uncommitted record and its commit. Default 100. */
  readonly commitIntervalMs: number;
  /** Input records after which a commit is due at once. */
  readonly commitRecords: number;
}

export interface FoldEnvironment<In> {
  readonly processor: Processor<In>;
  readonly codecs: Codecs<In>;
  readonly settings: FoldSettings;
  readonly metrics: TaskMetrics;
  /** For commit intervals, retries, and timestamps that only retention sees; never for a result. */
  readonly clock: Clock;
  /** Where stores on disk are kept; without it they are in memory. */
  readonly directory?: StateDirectory;
  readonly onRestore?: (event: RestoreEvent) => void;
  /** Shows the state to people while the task runs. */
  readonly states?: RunningStates;
}

const readOptions = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 } as const;

/** Runs a processor's engine over one partition of the log: restores, feeds, journals, commits. */
export class FoldHandler<In> implements Handler {
  readonly #env: FoldEnvironment<In>;
  readonly #own: Ownership;
  readonly #committer: Committer;
  readonly #journal: Journal;
  /** By topic, in the order of the inputs. */
  readonly #positions = new Map<string, bigint>();
  #tables: Record<string, readonly bigint[]> = {};
  #settings: JournalledSettings | undefined;
  #engine: Engine<In> | undefined;
  #state: State | undefined;
  /** For what is read again. */
  #fetcher: Fetcher | undefined;
  #hide: (() => void) | undefined;

  constructor(ownership: Ownership, environment: FoldEnvironment<In>) {
    const { settings, metrics, clock } = environment;
    this.#env = environment;
    this.#own = ownership;
    this.#committer = new Committer(ownership, settings, metrics, () => clock.now());
    this.#journal = new Journal(ownership.inputs.map(({ topic }) => topic));
  }

  async open(): Promise<readonly bigint[]> {
    const { processor, codecs, clock, metrics } = this.#env;
    const { partition, log } = this.#own;
    const startedMs = clock.now();
    const state = await State.open({
      processor: processor.name,
      definitions: processor.stores,
      ownership: this.#own,
      clock,
      directory: this.#env.directory,
      onRestore: (event) => this.#restoring(event),
    });
    this.#state = state;
    const { stores, task } = state;
    const counts = new Map<string, number>();
    for (const { topic: output, partitionBy } of processor.outputs) {
      if (partitionBy !== undefined) counts.set(output, (await log.ends(output)).length);
    }
    this.#engine = new Engine<In>(
      {
        processor,
        codecs,
        partition,
        metrics,
        partitionsOf: (output) => counts.get(output) ?? 1,
        read: (range) => this.#read(range),
        turn: () => clock.sleep(0),
      },
      stores,
      task,
    );
    this.#hide = this.#env.states?.add({ processor: processor.name, partition, stores });
    this.#tables = task?.tables ?? {};
    metrics.takenOver((clock.now() - startedMs) / 1000);
    metrics.state(stores.size);
    this.#takePositions(task);
    this.#committer.begin(this.#positions);
    this.#takeSettings(task?.settings);
    if (task === undefined) await this.tables(await this.#tableEnds());
    return [...this.#positions.values()];
  }

  async process(fetched: Fetched): Promise<void> {
    const { codecs, settings, clock, metrics } = this.#env;
    const { topic, records, from, next } = fetched;
    const engine = this.#opened();
    const decoder = codecs.inputs.get(topic);
    if (decoder !== undefined) {
      await prepareDecoder(decoder, valuesOf(records), this.#own.signal, () => this.#commit(), clock);
    }
    let reached = from;
    for (let at = 0; at < records.length; ) {
      const portion = records.slice(at, at + Math.max(1, settings.commitRecords - this.#committer.count(0)));
      await engine.fold(topic, portion);
      at += portion.length;
      const position = (portion.at(-1) as LogRecord).offset + 1n;
      this.#journal.ran({ topic, from: reached, to: position }, this.#place(topic, position));
      reached = position;
      if (this.#committer.count(portion.length) >= settings.commitRecords) await this.#commit();
    }
    this.#positions.set(topic, next);
    // Transaction markers behind the last record are committed, too: otherwise a quiet partition would show a lag for ever.
    if (next !== reached) this.#committer.count(0);
    metrics.processed(records.length);
    metrics.watermark(engine.logTime);
    if (this.#committer.due()) await this.#commit();
  }

  async tick(): Promise<void> {
    this.#committer.check();
    if (this.#committer.due()) await this.#commit();
  }

  async beat(beat: Beat): Promise<void> {
    const engine = this.#opened();
    if (!engine.beat(beat.logTime)) return;
    this.#journal.beat(beat, this.#place());
    this.#committer.count(1);
    this.#env.metrics.watermark(engine.logTime);
    await this.#commit();
  }

  async tables(ends: ReadonlyMap<string, readonly bigint[]>): Promise<void> {
    for (const { topic } of this.#env.processor.tables ?? []) {
      for (const [partition, end] of (ends.get(topic) ?? []).entries()) await this.#table(topic, partition, end);
    }
  }

  async close(): Promise<void> {
    await this.#commit();
    await this.#committer.settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#hide?.();
    await this.#fetcher?.[Symbol.asyncDispose]();
    await this.#state?.[Symbol.asyncDispose]();
  }

  /** @throws MillraceError OFFSETS_EXPIRED, POSITION_MISMATCH */
  #takePositions(task: TaskState | undefined): void {
    const { inputs, partition } = this.#own;
    const { name } = this.#env.processor;
    if (
      task !== undefined &&
      task.positions === undefined &&
      inputs.every(({ committed }) => committed === undefined)
    ) {
      throw offsetsExpired(this.#own, name, 'its state is of a release that wrote no position', resetRemedy(name));
    }
    for (const input of inputs) {
      this.#positions.set(input.topic, positionIn({ ...input, partition }, name, task?.positions?.[input.topic]));
    }
  }

  #restoring(event: RestoreEvent): void {
    const { metrics, onRestore } = this.#env;
    metrics.restoring(event.kind === 'restoring' ? event.to - event.offset : 0n);
    onRestore?.(event);
  }

  /** The next commit says which settings it was made with, unless they are those of before. */
  #takeSettings(before: JournalledSettings | undefined): void {
    const { settings } = this.#env.processor;
    this.#settings = before;
    if (settings === undefined) return;
    const text = JSON.stringify(settings.value);
    if (text === before?.text) return;
    this.#settings = { ordinal: (before?.ordinal ?? 0) + 1, text };
    this.#journal.settings(this.#settings, this.#place());
  }

  /** Takes a table's new records; the next commit says so. */
  async #table(topic: string, partition: number, end: bigint): Promise<void> {
    const { codecs, clock } = this.#env;
    const { log, signal } = this.#own;
    const codec = codecs.tables.get(topic);
    const position = this.#tables[topic]?.[partition] ?? 0n;
    if (codec === undefined || position >= end) return;
    const start = (await log.starts(topic))[partition] ?? 0n;
    let from = position > start ? position : start;
    const range = { topic, partition, from, to: end };
    for await (const records of readRange(log, range, { ...readOptions, signal })) {
      await prepareDecoder(codec.key, keysOf(records), signal, undefined, clock);
      await prepareDecoder(codec.value, valuesOf(records), signal, undefined, clock);
      for (const record of records) {
        const next = record.offset + 1n;
        await this.#take(topic, partition, next, (await this.#tableRecord({ topic, partition }, record)) ? from : next);
        from = next;
      }
    }
    if (from < end) await this.#take(topic, partition, end, from);
  }

  /** False for a record whose part of the input the log has deleted. It had no effect, so a replay must not read it. */
  async #tableRecord(at: TopicPartition, record: LogRecord): Promise<boolean> {
    try {
      await this.#opened().table(at, [record]);
      return true;
    } catch (error) {
      if (isError(error, 'OFFSET_OUT_OF_RANGE')) return false;
      throw error;
    }
  }

  /** The position in a table is `next`; the journal says that `[from, next)` had an effect. Many outputs are committed at once. */
  async #take(topic: string, partition: number, next: bigint, from: bigint): Promise<void> {
    const positions = [...(this.#tables[topic] ?? [])];
    while (positions.length <= partition) positions.push(0n);
    positions[partition] = next;
    this.#tables = { ...this.#tables, [topic]: positions };
    this.#journal.table({ topic, from, to: next }, partition, this.#place());
    this.#committer.count(1);
    if (this.#opened().pending >= this.#env.settings.commitRecords) await this.#commit();
  }

  async #tableEnds(): Promise<ReadonlyMap<string, readonly bigint[]>> {
    const ends = new Map<string, readonly bigint[]>();
    for (const { topic } of this.#env.processor.tables ?? []) ends.set(topic, await this.#own.log.ends(topic));
    return ends;
  }

  async *#read(range: Range): AsyncGenerator<readonly LogRecord[]> {
    const { codecs, clock } = this.#env;
    const { log, partition, signal } = this.#own;
    const decoder = codecs.inputs.get(range.topic);
    this.#fetcher ??= log.fetcher();
    for await (const records of fetchRange(this.#fetcher, { ...range, partition }, { ...readOptions, signal })) {
      if (decoder !== undefined) await prepareDecoder(decoder, valuesOf(records), signal, undefined, clock);
      yield records;
    }
  }

  /** Moves the position in an input, and says where the task is in the primary one. */
  #place(topic?: string, position = 0n): { next: bigint; logTime: bigint } {
    if (topic !== undefined) this.#positions.set(topic, position);
    return { next: this.#positions.get(this.#own.topic) ?? 0n, logTime: this.#opened().logTime };
  }

  #opened(): Engine<In> {
    if (this.#engine === undefined) throw new TypeError('the handler is not open');
    return this.#engine;
  }

  /** Each under the log time that it came at, whichever commit takes it. Before the first record that is 0: retention would take it at once. */
  #journalled(): OutRecord[] {
    const { processor, codecs, clock } = this.#env;
    const topic = `${processor.name}.journal`;
    return this.#journal.take().map((entry) => ({
      topic,
      partition: this.#own.partition,
      key: null,
      value: codecs.journal.encode(entry),
      timestamp: entry.log_time > 0n ? entry.log_time / 1000n : BigInt(clock.now()),
    }));
  }

  async #commit(): Promise<void> {
    await this.#committer.commit(this.#positions, () => {
      const { processor, metrics } = this.#env;
      const engine = this.#opened();
      const state = this.#state as State;
      const { logTime, identities, stores, gauges } = engine;
      const timestamp = logTime / 1000n;
      const positions = Object.fromEntries(this.#positions);
      const task: TaskState = { logTime, identities, tables: this.#tables, positions, settings: this.#settings };
      const snapshot = state.snapshot({ processor, task, positions: this.#positions });
      const changelog = state.take(task, timestamp);
      metrics.state(stores.size, stores.misses);
      if (gauges !== undefined) metrics.fold(gauges);
      return {
        outputs: [...engine.takeOutputs(), ...this.#journalled(), ...snapshot],
        changelog,
        committed: (written) => state.committed(written),
      };
    });
  }
}
