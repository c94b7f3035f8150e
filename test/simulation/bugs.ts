/**
 * Bugs as somebody might write them, each a change of the text of one file. None of them is in the product: they are planted into a copy of the
 * sources, to see that the simulation finds them.
 */
import { type Climate, calm } from './engine/weather.ts';

export interface Bug {
  readonly name: string;
  readonly file: string;
  /** Must be in the file exactly once. */
  readonly text: string;
  readonly instead: string;
  readonly scenario: string;
  /** Weather in which it shows sooner. */
  readonly climate?: Partial<Climate>;
}

export const bugs: readonly Bug[] = [
  {
    name: 'offsets are committed before the outputs',
    file: 'core/runtime/commit.ts',
    text: 'const written = await writer.transact({ records, offsets: { group, positions: offsets } });',
    instead: `await writer.transact({ records: [], offsets: { group, positions: offsets } });
      const written = await writer.transact({ records });`,
    scenario: 'ledger',
  },
  {
    name: 'offsets are committed after the outputs',
    file: 'core/runtime/commit.ts',
    text: 'const written = await writer.transact({ records, offsets: { group, positions: offsets } });',
    instead: `const written = await writer.transact({ records });
      await writer.transact({ records: [], offsets: { group, positions: offsets } });`,
    scenario: 'ledger',
  },
  {
    name: 'changes that are delivered again are folded again',
    file: 'core/runtime/fold/engine.ts',
    text: 'this.#identity(input).admit(change)',
    instead: '(this.#identity(input).admit(change) || true)',
    scenario: 'ledger',
  },
  {
    name: 'changes are told apart by their LSN only',
    file: 'core/capture/identity.ts',
    text: 'return compareDecimal(a.commit, b.commit) || compareDecimal(a.lsn, b.lsn);',
    instead: 'return compareDecimal(a.lsn, b.lsn);',
    scenario: 'ledger',
  },
  {
    name: 'rows of one statement are taken for one change',
    file: 'core/capture/identity.ts',
    text: 'this.#seen.add(name);',
    instead: 'if (this.#seen.size >= 0) return false;',
    scenario: 'ledger',
  },
  {
    name: 'identities are forgotten at a restart',
    file: 'core/runtime/fold/engine.ts',
    text: 'new ChangeIdentity(input.primaryKey ?? [], seen)',
    instead: 'new ChangeIdentity(input.primaryKey ?? [], seen && undefined)',
    scenario: 'ledger',
  },
  {
    name: 'no owner fences the one before it',
    file: 'core/runtime/takeover.ts',
    text: 'const writer = await log.writer(transactionalId(group, { topic, partition }));',
    instead: 'const writer = await log.writer([group, topic, partition, performance.now()].join("."));',
    scenario: 'ledger',
  },
  {
    name: 'the committed offset is read before the owner before is fenced',
    file: 'core/runtime/takeover.ts',
    text: 'const writer = await log.writer(transactionalId(group, { topic, partition }));',
    instead: `const early: InputPosition[] = [];
  for (const each of topics) early.push(await inputPosition(log, group, { topic: each, partition }));
  const inputPositionOf = async (at: number) => early[at] as InputPosition;
  const writer = await log.writer(transactionalId(group, { topic, partition }));
  if (early.length > 0) {
    const inputs = await Promise.all(topics.map((_, at) => inputPositionOf(at)));
    const handler = factory({ ...(inputs[0] as InputPosition), partition, inputs, log, writer, group, signal });
    return { handler, writer, positions: await handler.open() };
  }`,
    scenario: 'ledger',
  },
  {
    name: 'a task whose offset has expired begins at the earliest record, with its state',
    file: 'core/log/position.ts',
    text: 'if (committed === undefined) throw',
    instead: 'if (committed === undefined) return start; else if (agreed === undefined) throw',
    scenario: 'ledger',
    climate: { ...calm, expireEveryMs: 1_500 },
  },
  {
    name: 'state is restored to where the changelog ended before the owner before was fenced',
    file: 'core/state/state.ts',
    text: 'restore(log, { ...at, from, to: barrier.offset }, load, {',
    instead: 'restore(log, { ...at, from, to: barrier.offset > from + 12n ? barrier.offset - 12n : from }, load, {',
    scenario: 'ledger',
  },
  {
    name: 'a failed transaction is gone, and the task goes on with its memory',
    file: 'core/runtime/commit.ts',
    text: 'this.#failure = error;',
    instead: `if (error instanceof MillraceError && error.code === 'TRANSACTION_ABORTED') return;
      this.#failure = error;`,
    scenario: 'ledger',
  },
  {
    name: 'memory is kept after an abort',
    file: 'core/runtime/fold/fold-handler.ts',
    text: 'const { stores, task } = state;',
    instead: `const keeper = log as unknown as { kept?: Map<number, typeof state.stores> };
    keeper.kept ??= new Map();
    const stores = keeper.kept.get(partition) ?? state.stores;
    keeper.kept.set(partition, stores);
    const { task } = state;`,
    scenario: 'ledger',
  },
  {
    name: 'the producer is used again after a commit whose outcome is unknown',
    file: 'core/runtime/commit.ts',
    text: 'this.#failure = error;',
    instead: `if (error instanceof MillraceError && error.code === 'COMMIT_UNKNOWN') return;
      this.#failure = error;`,
    scenario: 'ledger',
    climate: { ...calm, slow: 0.008, latencyMs: 30, portionRecords: 10 },
  },
  {
    name: 'a commit whose outcome is unknown is repeated',
    file: 'core/runtime/commit.ts',
    text: 'const written = await writer.transact({ records, offsets: { group, positions: offsets } });',
    instead: `const transaction = { records, offsets: { group, positions: offsets } };
      const written = await writer.transact(transaction).catch((error: unknown) => {
        if (error instanceof MillraceError && error.code === 'COMMIT_UNKNOWN') return writer.transact(transaction);
        throw error;
      });`,
    scenario: 'ledger',
  },
  {
    name: 'a heartbeat advances time before the records that precede it',
    file: 'core/runtime/task.ts',
    text: 'for (const [topic, at] of reached) if (at < (ends.get(topic) ?? 0n)) return undefined;',
    instead: '',
    scenario: 'ledger',
  },
  {
    name: 'log time is forgotten at a restart',
    file: 'core/runtime/fold/engine.ts',
    text: 'this.#logTime = task?.logTime ?? 0n;',
    instead: 'this.#logTime = 0n;',
    scenario: 'ledger',
  },
  {
    name: 'a timer that has fired is in the state still',
    file: 'core/runtime/fold/timers.ts',
    text: 'this.#store?.delete(timer.tie);',
    instead: '',
    scenario: 'ledger',
  },
  {
    name: 'timers are forgotten at a restart',
    file: 'core/runtime/fold/timers.ts',
    text: 'for (const [key, at] of this.#store?.entries() ?? []) this.#queue.set(key, Number(at));',
    instead: '',
    scenario: 'ledger',
  },
  {
    name: 'portions of an earlier question are taken for answers to this one',
    file: 'core/runtime/task.ts',
    text: 'if (fetched.from !== this.#fetchAt?.get(topic)) return;',
    instead: 'if (this.#fetchAt === undefined) return;',
    scenario: 'ledger',
  },
  {
    name: 'windows close on arrival, by log time instead of the watermark',
    file: 'core/processor/watermark.ts',
    text: 'const moving = progress.max_event + (logTime - progress.max_log) - progress.lateness;',
    instead: 'const moving = logTime;',
    scenario: 'candles',
  },
  {
    name: 'the watermark follows the last trade instead of the newest',
    file: 'core/processor/watermark.ts',
    text: 'if (event <= progress.max_event) return false;',
    instead: '',
    scenario: 'candles',
  },
  {
    name: 'heartbeats that were taken are not in the journal',
    file: 'core/runtime/fold/journal.ts',
    text: "this.#push({ ...empty, kind: 'HEARTBEAT', topic: this.#primary, heartbeat_offset: offset }, at);",
    instead: 'void [offset, at];',
    scenario: 'ledger',
  },
];
