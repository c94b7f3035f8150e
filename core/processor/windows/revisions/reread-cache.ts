import type { Context, InputRecord, Range } from '../../define.ts';
import { LatestVersions, type RecordVersion, type WindowRecords } from './latest-versions.ts';

/** A range that is longer is read for one window alone, and not kept. */
const mostOffsets = 32_768n;
/** More records than this are not kept: some 25 MB of trades. */
const mostRecords = 65_536;
/** What it costs to read the log at all, in records that could be taken meanwhile. */
const readingCosts = 1_000n;

/** How what was folded is read again. */
export interface VersionExtractor<R> {
  /** What a record of the input says, by itself; undefined for one that says nothing of any record. */
  version(record: InputRecord<never>): RecordVersion<R> | undefined;
  /** Of a key: what windows hold of the records whose last change they did not take, refused or not applied. Asked when an answer is given. */
  held(key: string): Iterable<RecordVersion<R>>;
}

/** Windows of one key, and the input that they were made of; `to` is the offset after the record that asks. */
export interface RereadRequest extends Range {
  readonly key: string;
  /** Whether an instant, microseconds, is in any of them. */
  readonly holds: (time: number) => boolean;
  /** Where the earliest one of all windows begins. */
  readonly oldest: () => bigint;
}

/**
 * A cache of input that was read again, for windows that have to be rebuilt. Corrections come in crowds, and each of them may need the log since its window
 * began. So a range that was read stays in memory and follows the log, for as long as that costs less than reading it again.
 *
 * Answers are the same with and without the cache. They come from the log, from the window's own first offset on, and from the state: a record that the fold
 * refused is not judged again, since the verdict may be another by then.
 */
export class RereadCache<R> {
  readonly #context: Pick<Context, 'reread' | 'follow'>;
  readonly #reading: VersionExtractor<R>;
  #kept: CachedRange<R> | undefined;

  constructor(context: Pick<Context, 'reread' | 'follow'>, reading: VersionExtractor<R>) {
    this.#context = context;
    this.#reading = reading;
  }

  /** Calls `done`, when the current record has returned, with what the records of the question's windows are after it. */
  ask(question: RereadRequest, done: (found: WindowRecords<R>) => void): void {
    const { topic, from, to, key } = question;
    const answer = (versions: LatestVersions<R>): void => {
      const held = new Map<string, RecordVersion<R>>();
      for (const version of this.#reading.held(key)) held.set(version.id, version);
      done(versions.found(held));
    };
    const kept = this.#kept;
    if (kept?.covers(topic, from) === true) {
      kept.used();
      this.#context.reread({ topic, from: to, to }, ignore, () => answer(kept.of(key)));
    } else if (to - from > mostOffsets) {
      this.#askAlone(question, answer);
    } else {
      this.#drop();
      this.#keep(topic, kept === undefined ? from : furthest(question), to, (fresh) => answer(fresh.of(key)));
    }
  }

  #askAlone({ topic, from, to, key, holds }: RereadRequest, answer: (versions: LatestVersions<R>) => void): void {
    const versions = new LatestVersions<R>();
    const visit = (record: InputRecord<unknown>): void => {
      const version = this.#reading.version(record as InputRecord<never>);
      if (version?.key !== key) return;
      if (versions.has(version.id) || holds(version.time)) versions.take(version, record);
    };
    this.#context.reread({ topic, from, to }, visit, () => answer(versions));
  }

  #keep(topic: string, from: bigint, to: bigint, done: (kept: CachedRange<R>) => void): void {
    const kept = new CachedRange<R>(topic, from, to - from + readingCosts);
    const visit = (record: InputRecord<unknown>): void => {
      const version = this.#reading.version(record as InputRecord<never>);
      if (version !== undefined) kept.take(version, record);
    };
    this.#context.reread({ topic, from, to }, visit, () => {
      // Another question of the same record may have come before.
      this.#drop();
      this.#kept = kept;
      kept.stop = this.#context.follow(topic, (record) => {
        visit(record);
        if (kept.tooMuch()) this.#drop();
      });
      done(kept);
    });
  }

  #drop(): void {
    this.#kept?.stop();
    this.#kept = undefined;
  }
}

/** All keys' records from an offset on. */
class CachedRange<R> {
  readonly #topic: string;
  readonly #from: bigint;
  /** In records. */
  readonly #cost: bigint;
  readonly #keys = new Map<string, LatestVersions<R>>();
  #records = 0;
  /** Records since it was asked last. */
  #idle = 0n;
  stop: () => void = ignore;

  constructor(topic: string, from: bigint, cost: bigint) {
    this.#topic = topic;
    this.#from = from;
    this.#cost = cost;
  }

  covers(topic: string, from: bigint): boolean {
    return topic === this.#topic && from >= this.#from;
  }

  of(key: string): LatestVersions<R> {
    return this.#keys.get(key) ?? new LatestVersions();
  }

  take(version: RecordVersion<R>, at: InputRecord<unknown>): void {
    let versions = this.#keys.get(version.key);
    if (versions === undefined) {
      versions = new LatestVersions();
      this.#keys.set(version.key, versions);
    }
    this.#records -= versions.size;
    versions.take(version, at);
    this.#records += versions.size;
  }

  used(): void {
    this.#idle = 0n;
  }

  /** Whether it is too large, or has been kept for longer than it would take to read it again. */
  tooMuch(): boolean {
    this.#idle += 1n;
    return this.#idle > this.#cost || this.#records > mostRecords;
  }
}

/** On a second request, read further back: more corrections are likely. */
function furthest({ from, to, oldest }: RereadRequest): bigint {
  const earliest = to - mostOffsets;
  const least = oldest();
  const begin = least > earliest ? least : earliest;
  return begin < from ? begin : from;
}

function ignore(): void {}
