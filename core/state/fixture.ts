import type { Clock } from '../base/clock.ts';
import type { Processor } from '../processor/define.ts';
import { takeOver } from '../runtime/takeover.ts';
import { MemoryDisks } from '../testing/memory-disk.ts';
import { MemoryLog } from '../testing/memory-log.ts';
import { type RestoreEvent, State, type StateOptions } from './state.ts';
import type { Disks } from './stores/disk.ts';

export const topic = 'counter.changelog';

/** Owners of one task's state, one after the other, on a changelog in memory. */
export class Owners {
  readonly log = new MemoryLog();
  readonly disks = new MemoryDisks();
  readonly events: RestoreEvent[] = [];
  epoch = 'cluster';
  definitions: StateOptions['definitions'];
  nowMs = 1_000_000;
  readonly #clock: Clock = { now: () => this.nowMs, sleep: async () => undefined };

  readonly #path: string;

  constructor(definitions: StateOptions['definitions'], path = 'state') {
    this.definitions = definitions;
    this.#path = path;
    for (const each of ['input', topic, 'counter.snapshots']) this.log.create(each, 1);
  }

  /** Takes over; the earlier owner is fenced, and gone. */
  async next(disks: Disks = this.disks): Promise<Owner> {
    const signal = new AbortController().signal;
    let state: State | undefined;
    this.nowMs += 1;
    const { writer } = await takeOver({
      topics: ['input'],
      partition: 0,
      log: this.log,
      group: 'group',
      signal,
      factory: (ownership) => ({
        open: async () => {
          state = await State.open({
            processor: 'counter',
            definitions: this.definitions,
            ownership,
            clock: this.#clock,
            directory: { path: this.#path, epoch: this.epoch, disks },
            onRestore: (event) => this.events.push(event),
          });
          return [0n];
        },
        process: async () => undefined,
        tick: async () => undefined,
        close: async () => undefined,
      }),
    });
    return new Owner(state as State, writer);
  }

  /** Records that the newest restore read, and why its copy was made anew. */
  get restored(): { readonly records: number; readonly rebuilt: string | undefined } {
    const event = this.events.findLast((each) => each.kind === 'restored');
    if (event?.kind !== 'restored') throw new Error('nothing was restored');
    return { records: event.records, rebuilt: event.rebuilt };
  }
}

type Writer = Awaited<ReturnType<MemoryLog['writer']>>;

export class Owner {
  readonly state: State;
  readonly #writer: Writer;
  #logTime = 0n;

  constructor(state: State, writer: Writer) {
    this.state = state;
    this.#writer = writer;
    this.reach(state.task?.logTime ?? 0n);
  }

  store<V>(name = 'counts') {
    return this.state.stores.store<V>(name);
  }

  /** Log time passes to this many microseconds. */
  reach(logTime: bigint): void {
    this.#logTime = logTime;
    this.state.stores.advance(logTime);
  }

  /** Commits; with `crash` the process dies right after Kafka has committed. */
  async commit(options: { readonly crash?: boolean; readonly position?: bigint } = {}): Promise<void> {
    const task = { logTime: this.#logTime, identities: {}, tables: {} };
    const processor: Pick<Processor<unknown>, 'name' | 'version'> = { name: 'counter', version: '1' };
    const snapshot = this.state.snapshot({ processor, task, positions: new Map([['input', options.position ?? 0n]]) });
    const changelog = this.state.take(task, this.#logTime / 1000n);
    const written = await this.#writer.transact({ records: [...snapshot, ...changelog] });
    if (options.crash !== true) await this.state.committed(written);
  }

  /** A transaction that is aborted. */
  async abort(): Promise<void> {
    this.state.take({ logTime: this.#logTime, identities: {}, tables: {} }, this.#logTime / 1000n);
  }
}
