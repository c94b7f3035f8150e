import { createHash, type Hash } from 'node:crypto';
import { setImmediate as yieldNow } from 'node:timers/promises';
import { AvroDecoder, HEADER_BYTES } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { wallClock } from '../../core/base/clock.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { keysOf, prepareDecoder, valuesOf } from '../../core/log/decoding.ts';
import { type Log, type OutRecord, readRange, type Writer } from '../../core/log/log.ts';
import { isMadeWith, type Processor } from '../../core/processor/define.ts';
import { type Codecs, openCodecs } from '../../core/runtime/fold/codecs.ts';
import { Engine, unmetered } from '../../core/runtime/fold/engine.ts';
import type { TaskState } from '../../core/state/changelog/changelog.ts';
import { Stores } from '../../core/state/stores/stores.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { Differences } from '../report/report.ts';
import { type HistoryEntry, openHistory, steps, type TaskHistory } from './history.ts';
import { Letters } from './letters.ts';
import { Match } from './match.ts';
import { Published } from './published.ts';
import { PrivateSchemas, SideSchemas, sideTopic } from './schemas.ts';
import { plain } from './values.ts';

export interface ReplayOptions<In> {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly processor: Processor<In>;
  /** By partition, the first offset of the primary input whose outputs count. Default: from the beginning. */
  readonly from?: readonly bigint[];
  /** By partition, the offset after the last one. Default, and upper limit: the processor's position. */
  readonly to?: readonly bigint[];
  /** Default: every partition. */
  readonly partition?: number;
  /** Writes the outputs of the range to `<topic>.<into>`; the topics must exist. */
  readonly into?: string;
  /** Compares the outputs with the published records. */
  readonly verify: boolean;
  /**
   * `log` reads inputs from the archive: letters are compared by content, and published records that are no longer kept are left out.
   * Default false.
   */
  readonly cold?: boolean;
  /** The settings from the journal (`then`), or those of `processor` (`now`). Default `then`. */
  readonly settings?: 'then' | 'now';
  readonly onProgress?: (progress: ReplayProgress) => void;
  readonly signal?: AbortSignal;
}

export interface ReplayProgress {
  readonly partition: number;
  readonly partitions: number;
  /** Input records folded so far, in all partitions. */
  readonly records: number;
  /** Position in the primary input, and the position where the partition's replay ends. */
  readonly position: bigint;
  readonly to: bigint;
}

export interface TopicResult {
  readonly topic: string;
  /** Output records of the range. */
  readonly given: number;
  /** Output records that were compared with a published record. */
  readonly compared: number;
  /**
   * SHA-256 over the range's outputs, hexadecimal: partition, timestamp, key and value of each record, without schema ids; for a dead
   * letter its content. Equal for equal outputs, whatever the source of the input.
   */
  readonly hash: string;
}

export interface ReplayResult {
  readonly processor: string;
  readonly version: string;
  readonly records: number;
  readonly beats: number;
  readonly topics: readonly TopicResult[];
  readonly differences: number;
  /** The first differences, each with topic, position, key and field. */
  readonly examples: readonly string[];
  readonly seconds: number;
}

const read = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 } as const;
const recordsPerTransaction = 5_000;

/**
 * Repeats a processor's history: the same records, heartbeats and table records in the order of its journal, through the same engine. It
 * uses the present code, and the past or the present settings. The processor's own offsets, state and topics stay untouched.
 *
 * @throws MillraceError REPLAY_IMPOSSIBLE: the history is not kept from a point with known state.
 */
export async function replay<In>(options: ReplayOptions<In>): Promise<ReplayResult> {
  const startedMs = performance.now();
  const { log, schemas, processor, into, partition: only } = options;
  const own = into === undefined ? new PrivateSchemas(schemas) : new SideSchemas(schemas, into);
  const codecs = await openCodecs(processor, own);
  const inputs = processor.inputs.map(({ topic }) => topic);
  const differences = new Differences();
  const total: Totals = { records: 0, beats: 0, topics: new Map() };
  const partitions = (await log.ends(inputs[0] as string)).length;
  for (let partition = 0; partition < partitions; partition++) {
    if (only !== undefined && only !== partition) continue;
    const { name, version } = processor;
    const from = options.from?.[partition];
    const history = await openHistory(log, schemas, { processor: name, version, partition, inputs, from });
    if (history === undefined) continue;
    await new PartitionReplay({ ...options, own, codecs, history, differences, total, partitions }).run();
  }
  return {
    processor: processor.name,
    version: processor.version,
    records: total.records,
    beats: total.beats,
    topics: [...total.topics].map(([topic, { given, compared, hash }]) => ({
      topic,
      given,
      compared,
      hash: hash.digest('hex'),
    })),
    differences: differences.count,
    examples: differences.examples,
    seconds: (performance.now() - startedMs) / 1000,
  };
}

interface Totals {
  records: number;
  beats: number;
  readonly topics: Map<string, TopicTotal>;
}

interface TopicTotal {
  given: number;
  compared: number;
  readonly hash: Hash;
}

interface PartitionOptions<In> extends ReplayOptions<In> {
  readonly own: Schemas;
  readonly codecs: Codecs<In>;
  readonly history: TaskHistory;
  readonly differences: Differences;
  readonly total: Totals;
  readonly partitions: number;
}

/** One output whose published records are read beside the replay. */
interface Followed {
  readonly match: Match;
  readonly published: Published;
  /** Records that the replay has produced so far; `read` counts the published ones. */
  given: number;
  read: number;
}

class PartitionReplay<In> {
  readonly #options: PartitionOptions<In>;
  readonly #from: bigint;
  readonly #to: bigint;
  readonly #followed = new Map<string, Followed>();
  readonly #letters: Letters;
  readonly #letterDecoder: AvroDecoder<object>;
  #written: OutRecord[] = [];
  #writer: Writer | undefined;

  constructor(options: PartitionOptions<In>) {
    const { history, from, to } = options;
    const { partition, inputs, committed, base } = history;
    const end = committed.get(inputs[0] ?? '') ?? 0n;
    const wanted = to?.[partition] ?? end;
    this.#options = options;
    this.#letters = new Letters(options.own);
    this.#letterDecoder = new AvroDecoder<object>(options.own, contracts.dead_letter);
    this.#from = from?.[partition] ?? base.position;
    this.#to = wanted < end ? wanted : end;
  }

  async run(): Promise<void> {
    const { log, schemas, history, into, processor, signal } = this.#options;
    const { partition } = history;
    const { snapshot } = history.base;
    const stores = new Stores(processor.stores);
    for (const { key, value } of snapshot?.entries ?? []) stores.load(key, value, snapshot?.task.logTime);
    let engine = await this.#engine(this.#with(snapshot?.task.settings?.text), stores, snapshot?.task);
    await using stack = new AsyncDisposableStack();
    if (into !== undefined) {
      this.#writer = stack.use(await log.writer(`millrace.replay.${processor.name}.${into}.${partition}`));
    }
    await this.#follow(stack);
    for await (const step of steps(log, schemas, history, this.#to, signal)) {
      if (step.kind === 'settings') engine = await this.#restart(engine, step.text);
      else await this.#step(engine, step);
    }
    await this.#write(0);
    await this.#finish();
  }

  /** The processor with the past settings, or with the present ones if requested. */
  #with(text: string | undefined): Processor<In> {
    const { processor, settings } = this.#options;
    const own = processor.settings;
    if (settings === 'now' || text === undefined || own === undefined) return processor;
    return isMadeWith(own, text) ? processor : own.remake(JSON.parse(text) as never);
  }

  /** Changed settings begin with a takeover of the state, as in the task. */
  async #restart(engine: Engine<In>, text: string): Promise<Engine<In>> {
    if (this.#options.settings === 'now') return engine;
    const processor = this.#with(text);
    const { logTime, identities } = engine;
    const stores = new Stores(processor.stores);
    for (const { key, value } of engine.stores.encoded()) stores.load(key, value, logTime);
    return this.#engine(processor, stores, { logTime, identities, tables: {} });
  }

  async #engine(processor: Processor<In>, stores: Stores, task: TaskState | undefined): Promise<Engine<In>> {
    const { log, codecs, history } = this.#options;
    const counts = new Map<string, number>();
    for (const { topic, partitionBy } of processor.outputs) {
      if (partitionBy !== undefined) counts.set(topic, (await log.ends(topic)).length);
    }
    return new Engine<In>(
      {
        processor,
        codecs,
        partition: history.partition,
        metrics: unmetered,
        partitionsOf: (topic) => counts.get(topic) ?? 1,
        read: (range) => this.#again(range),
        turn: () => wallClock.sleep(0),
      },
      stores,
      task,
    );
  }

  /** Opens the records that this history has published up to now. */
  async #follow(stack: AsyncDisposableStack): Promise<void> {
    const { log, schemas, own, processor, history, differences, verify, cold = false, signal } = this.#options;
    if (!verify) return;
    const dead = { topic: `${processor.name}.dead`, keySchema: null, valueSchema: contracts.dead_letter };
    for (const contract of [...processor.outputs, dead]) {
      const { topic } = contract;
      if ('partitionBy' in contract && contract.partitionBy !== undefined) {
        throw new MillraceError('REPLAY_IMPOSSIBLE', `${topic} is repartitioned: its partitions have several writers`, {
          remedy: 'replay it with --into, and compare the newest value of each key in both topics',
        });
      }
      const published = await Published.open(log, schemas, topic, history, { partly: cold, signal });
      if (published === undefined) continue;
      stack.use(published);
      const view = cold && contract === dead ? (letter: object) => this.#letters.view(letter) : undefined;
      const match = new Match(topic, own, contract, differences, view);
      this.#followed.set(topic, { match, published, given: 0, read: 0 });
    }
  }

  async #step(engine: Engine<In>, step: Exclude<HistoryEntry, { kind: 'settings' }>): Promise<void> {
    const { codecs, processor, total, differences, history, partitions, onProgress, signal } = this.#options;
    if (step.kind === 'beat') {
      total.beats++;
      if (!engine.beat(step.logTime)) {
        differences.add(
          `${processor.name}/${history.partition}: the heartbeat of log time ${step.logTime} changed something then, and nothing now`,
        );
      }
      await this.#take(engine, step.position > this.#from);
    } else if (step.kind === 'table') {
      const codec = codecs.tables.get(step.topic);
      if (codec === undefined) return;
      await prepareDecoder(codec.key, keysOf(step.records), signal ?? never, undefined, wallClock);
      await prepareDecoder(codec.value, valuesOf(step.records), signal ?? never, undefined, wallClock);
      await engine.table(step, step.records);
      await this.#take(engine, step.position > this.#from);
    } else {
      const decoder = codecs.inputs.get(step.topic);
      if (decoder !== undefined)
        await prepareDecoder(decoder, valuesOf(step.records), signal ?? never, undefined, wallClock);
      const isPrimary = step.topic === history.inputs[0];
      const cut = isPrimary ? step.records.findIndex(({ offset }) => offset >= this.#from) : 0;
      const before = cut < 0 ? step.records : step.records.slice(0, cut);
      const within = cut < 0 ? [] : step.records.slice(cut);
      if (before.length > 0) {
        await engine.fold(step.topic, before);
        await this.#take(engine, false);
      }
      if (within.length > 0) {
        await engine.fold(step.topic, within);
        await this.#take(engine, isPrimary || step.position > this.#from);
      }
      total.records += step.records.length;
    }
    const { partition } = history;
    onProgress?.({ partition, partitions, records: total.records, position: step.position, to: this.#to });
    // Folding is synchronous: without this, no signal is handled.
    await yieldNow();
  }

  /** Takes the engine's outputs, and the same number of published records. */
  async #take(engine: Engine<In>, counts: boolean): Promise<void> {
    const { into } = this.#options;
    engine.stores.takeChanges();
    for (const output of engine.takeOutputs()) {
      const result = this.#total(output.topic);
      if (counts) {
        result.given++;
        await this.#digest(result.hash, output);
      }
      if (counts && into !== undefined) this.#written.push({ ...output, topic: sideTopic(output.topic, into) });
      const followed = this.#followed.get(output.topic);
      if (followed === undefined || followed.published.isForgotten(output.timestamp)) continue;
      const before = followed.match.compared;
      const waits = followed.published.isAtBoundary(output.timestamp);
      if (!waits) await followed.published.pass(followed.given);
      await followed.match.give(output, counts);
      followed.given++;
      if (!waits) await this.#advance(output.topic, followed, counts);
      result.compared += followed.match.compared - before;
    }
    if (this.#written.length >= recordsPerTransaction) await this.#write(recordsPerTransaction);
  }

  #total(topic: string): TopicTotal {
    const { topics } = this.#options.total;
    const total = topics.get(topic) ?? { given: 0, compared: 0, hash: createHash('sha256') };
    topics.set(topic, total);
    return total;
  }

  async #digest(hash: Hash, { topic, partition, key, value, timestamp }: OutRecord): Promise<void> {
    hash.update(`${partition} ${timestamp}\n`);
    if (topic === `${this.#options.processor.name}.dead` && value !== null) {
      const missing = this.#letterDecoder.missing([value]);
      if (missing.length > 0) await this.#letterDecoder.prepare(missing);
      hash.update(plain(await this.#letters.view(this.#letterDecoder.decode(value))));
      return;
    }
    for (const bytes of [key, value]) {
      hash.update(`${bytes?.length ?? 'null'}\n`);
      if (bytes !== null) hash.update(bytes.subarray(HEADER_BYTES));
    }
  }

  async #advance(topic: string, followed: Followed, counts: boolean): Promise<void> {
    const { partition } = this.#options.history;
    while (followed.read < followed.given) {
      const record = await followed.published.next();
      if (record === undefined) return;
      followed.read++;
      await followed.match.publish(record, `${topic}/${partition} offset ${record.offset}`, counts);
    }
  }

  /** Reports published records beyond the replay's outputs, unless the processor has gone on meanwhile. */
  async #finish(): Promise<void> {
    const { log, history } = this.#options;
    const { processor, partition, inputs, committed } = history;
    const primary = inputs[0] ?? '';
    const isWhole = this.#to === committed.get(primary);
    const now = await log.committed(`millrace.${processor}`, primary);
    const journalEnd = (await log.ends(`${processor}.journal`))[partition];
    const atRest =
      now.find((each) => each.partition === partition)?.offset === this.#to && journalEnd === history.journal.to;
    for (const [topic, followed] of this.#followed) {
      const result = this.#total(topic);
      const before = followed.match.compared;
      await followed.published.pass(followed.given);
      await this.#advance(topic, followed, true);
      if (isWhole && atRest) {
        followed.given = Number.POSITIVE_INFINITY;
        await this.#advance(topic, followed, true);
      }
      result.compared += followed.match.compared - before;
      await followed.match.finish();
    }
  }

  async #write(least: number): Promise<void> {
    if (this.#writer === undefined || this.#written.length <= least - 1 || this.#written.length === 0) return;
    const records = this.#written;
    this.#written = [];
    await this.#writer.transact({ records });
  }

  async *#again(range: { readonly topic: string; readonly from: bigint; readonly to: bigint }) {
    const { log, codecs, history, signal } = this.#options;
    const decoder = codecs.inputs.get(range.topic);
    const options = signal === undefined ? read : { ...read, signal };
    for await (const records of readRange(log, { ...range, partition: history.partition }, options)) {
      if (decoder !== undefined)
        await prepareDecoder(decoder, valuesOf(records), signal ?? never, undefined, wallClock);
      yield records;
    }
  }
}

const never = new AbortController().signal;
