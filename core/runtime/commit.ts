import { MillraceError } from '../base/errors.ts';
import type { OutRecord, Written } from '../log/log.ts';
import type { TaskMetrics } from '../observability/metrics.ts';
import type { Ownership } from './handler.ts';

export interface CommitContent {
  /** Outputs, late and dead records and journal entries, in the order of emission; then a snapshot, if one is due. */
  readonly outputs: readonly OutRecord[];
  readonly changelog: readonly OutRecord[];
  /** Called when the transaction is committed; the next one waits for it, and its failure is a failure of the transaction. */
  readonly committed?: (written: readonly Written[]) => Promise<void>;
}

/**
 * The commit order of a processor's task. In one Kafka transaction:
 *
 *   1. outputs (with late and dead records, the journal, and once a day a snapshot)
 *   2. the changelog: every state entry that changed since the last commit, and the task's log time and identity
 *   3. the input offsets
 *   4. commit
 *
 * Then, and only then, the local copy of the state takes the changelog's records.
 *
 * One transaction is in flight at most; folding goes on meanwhile, and the next one waits for it. Memory is ahead of the log by what is
 * in flight, so after any failure the whole handler is thrown away and a takeover starts from what is committed.
 */
export class Committer {
  readonly #own: Ownership;
  readonly #settings: { readonly commitIntervalMs: number };
  readonly #metrics: TaskMetrics;
  readonly #now: () => number;
  #inFlight: Promise<void> | undefined;
  #failure: unknown;
  /** By topic. */
  #committed: ReadonlyMap<string, bigint> = new Map();
  #uncommitted = 0;
  #firstUncommittedMs: number | undefined;

  constructor(
    ownership: Ownership,
    settings: { readonly commitIntervalMs: number },
    metrics: TaskMetrics,
    now: () => number,
  ) {
    this.#own = ownership;
    this.#settings = settings;
    this.#metrics = metrics;
    this.#now = now;
  }

  begin(positions: ReadonlyMap<string, bigint>): void {
    this.#committed = new Map(positions);
  }

  /** Notes progress; returns the records since the last commit. */
  count(records: number): number {
    this.#firstUncommittedMs ??= this.#now();
    this.#uncommitted += records;
    return this.#uncommitted;
  }

  due(): boolean {
    return (
      this.#firstUncommittedMs !== undefined &&
      this.#now() - this.#firstUncommittedMs >= this.#settings.commitIntervalMs
    );
  }

  /** @throws what the transaction in flight failed with, as soon as it is known. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async settle(): Promise<void> {
    await this.#inFlight;
    this.check();
  }

  /** Starts the next transaction once the previous one is committed. `content` is taken at that moment, together with the positions. */
  async commit(positions: ReadonlyMap<string, bigint>, content: () => CommitContent): Promise<void> {
    await this.settle();
    if (this.#uncommitted === 0 && !this.#moved(positions)) {
      this.#firstUncommittedMs = undefined;
      return;
    }
    const { outputs, changelog, committed } = content();
    const records = [...outputs, ...changelog];
    this.#uncommitted = 0;
    this.#firstUncommittedMs = undefined;
    this.#committed = new Map(positions);
    this.#inFlight = this.#transact(records, this.#committed, committed);
  }

  #moved(positions: ReadonlyMap<string, bigint>): boolean {
    for (const [topic, position] of positions) if (position !== this.#committed.get(topic)) return true;
    return false;
  }

  async #transact(
    records: readonly OutRecord[],
    positions: ReadonlyMap<string, bigint>,
    committed: CommitContent['committed'],
  ): Promise<void> {
    const { writer, group, partition } = this.#own;
    const startedMs = this.#now();
    try {
      const offsets = [...positions].map(([topic, offset]) => ({ topic, partition, offset }));
      const written = await writer.transact({ records, offsets: { group, positions: offsets } });
      this.#metrics.committed((this.#now() - startedMs) / 1000);
      await committed?.(written);
    } catch (error) {
      this.#failure = error;
      this.#metrics.aborted(error instanceof MillraceError ? error.code : 'UNKNOWN');
    }
  }
}
