import { expect, test } from '@jest/globals';
import type { InputRecord, StoreDefinition } from '../../core/processor/define.ts';
import type { Disk } from '../../core/state/stores/disk.ts';
import type { Change } from '../../core/state/stores/keyed.ts';
import { Stores } from '../../core/state/stores/stores.ts';
import fc from '../support/property.ts';

/** What the contract needs of a kind of store. */
export interface StoreKind {
  /** An empty disk; undefined for stores in memory. */
  disk(): Promise<Disk | undefined>;
}

const second = 1_000_000n;
const ttlMs = 10_000;

/** The promises of a store to its fold and its runtime, whatever it is kept in. Call it in a test file of each kind. */
export function testStateContract(kind: StoreKind): void {
  test('a fold sees what it has set, at once, before and after commits', async () => {
    await using task = await Task.open(kind);
    task.counts.set('a', 1n);
    expect(task.counts.get('a')).toBe(1n);
    task.begin();
    expect(task.counts.get('a')).toBe(1n);
    task.counts.set('a', 2n);
    task.counts.set('b', 3n);
    await task.commit();
    expect([task.counts.get('a'), task.counts.get('b'), task.counts.get('c')]).toEqual([2n, 3n, undefined]);
    task.begin();
    await task.commit();
    task.counts.delete('a');
    expect([task.counts.get('a'), task.counts.size]).toEqual([undefined, 1]);
  });

  test('what was created and deleted between two commits is not in the changelog', async () => {
    await using task = await Task.open(kind);
    task.counts.set('a', 1n);
    task.counts.set('b', 1n);
    task.counts.delete('b');
    expect(text(await task.cycle())).toEqual(['a=value']);
    task.counts.delete('a');
    expect(text(await task.cycle())).toEqual(['a=gone']);
    task.counts.set('a', 1n);
    task.counts.delete('a');
    expect(text(await task.cycle())).toEqual([]);
  });

  test('an entry set again while its deletion is being committed is there, and deleted again it leaves no trace', async () => {
    await using task = await Task.open(kind);
    task.counts.set('a', 1n);
    await task.cycle();
    task.counts.delete('a');
    task.begin();
    task.counts.set('a', 2n);
    expect(task.counts.get('a')).toBe(2n);
    task.counts.delete('a');
    await task.commit();
    expect(text(await task.cycle())).toEqual([]);
    expect([task.counts.get('a'), task.counts.size]).toEqual([undefined, 0]);
  });

  test('of several transactions in flight each commits its own changes', async () => {
    await using task = await Task.open(kind);
    task.counts.set('a', 1n);
    task.begin();
    task.counts.set('a', 2n);
    task.counts.set('b', 2n);
    task.begin();
    await task.commit();
    await task.lose();
    expect([task.counts.get('a'), task.counts.get('b'), task.counts.size]).toEqual([1n, undefined, 1]);
  });

  test('an entry deleted, set and deleted again within one commit is gone', async () => {
    await using task = await Task.open(kind);
    task.counts.set('a', 1n);
    await task.cycle();
    task.counts.delete('a');
    task.counts.set('a', 2n);
    task.counts.delete('a');
    expect(task.counts.get('a')).toBeUndefined();
    expect(text(await task.cycle())).toEqual(['a=gone']);
    await task.lose();
    expect([task.counts.get('a'), task.counts.size]).toEqual([undefined, 0]);
  });

  test('an entry is gone as soon as log time has passed its time to live since it was last set', async () => {
    await using task = await Task.open(kind, ttlMs);
    task.stores.advance(100n * second);
    task.counts.set('a', 1n);
    task.counts.set('b', 1n);
    await task.cycle();
    task.stores.advance(105n * second);
    task.counts.set('a', 2n);
    task.stores.advance(110n * second - 1n);
    expect([task.counts.get('a'), task.counts.get('b')]).toEqual([2n, 1n]);
    task.stores.advance(110n * second);
    expect([task.counts.get('a'), task.counts.get('b')]).toEqual([2n, undefined]);
    task.stores.advance(115n * second);
    expect(task.counts.get('a')).toBeUndefined();
  });

  test('what has expired gets a tombstone, and is no more counted', async () => {
    await using task = await Task.open(kind, ttlMs);
    task.stores.advance(100n * second);
    for (let i = 0; i < 1_200; i++) task.counts.set(`k${i}`, BigInt(i));
    task.stores.advance(109n * second);
    task.counts.set('k7', 0n);
    await task.cycle();
    task.stores.advance(110n * second);
    const gone = new Set<string>();
    for (let i = 0; i < 10; i++) {
      await task.stores.fetch([]);
      for (const change of text(await task.cycle())) gone.add(change);
    }
    expect(gone.size).toBe(1_199);
    expect([...gone].every((change) => change.endsWith('=gone'))).toBe(true);
    expect(task.counts.size).toBe(1);
    expect(task.counts.get('k7')).toBe(0n);
  });

  test('an entry that was set before any log time does not expire until it is set again', async () => {
    await using task = await Task.open(kind, ttlMs);
    task.counts.set('a', 1n);
    await task.cycle();
    task.stores.advance(100n * second);
    expect(task.counts.get('a')).toBe(1n);
    task.counts.set('a', 1n);
    task.stores.advance(110n * second);
    expect(task.counts.get('a')).toBeUndefined();
  });

  test('after any changes, commits, losses and restores a fold finds what was committed', async () => {
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), to: fc.option(fc.bigInt(0n, 9n)) }),
      },
      { weight: 3, arbitrary: fc.constantFrom('begin', 'commit', 'fetch', 'later') },
      { weight: 1, arbitrary: fc.constantFrom('lose', 'restore') },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), fc.boolean(), async (steps, expires) => {
        await using task = await Task.open(kind, expires ? ttlMs : undefined);
        const model = new Model(expires ? BigInt(ttlMs) * 1000n : undefined);
        for (const each of steps) {
          if (each === 'begin') {
            task.begin();
            model.begin();
          } else if (each === 'commit') model.commit(await task.commit());
          else if (each === 'fetch') await task.stores.fetch(['a', 'c'].map(record));
          else if (each === 'later') task.reach(model.later());
          else if (each === 'lose' || each === 'restore') {
            await task[each]();
            model.lose();
          } else if (typeof each === 'object') {
            if (each.to === null) task.counts.delete(each.key);
            else task.counts.set(each.key, each.to);
            model.put(each.key, each.to);
          }
          expect(['a', 'b', 'c', 'd'].map((key) => task.counts.get(key))).toEqual(
            ['a', 'b', 'c', 'd'].map((key) => model.get(key)),
          );
        }
        if (!expires) expect(task.counts.size).toBe(model.size);
      }),
      { numRuns: 150 },
    );
  });
}

/** A task's life with one store: what it takes is committed by command, and only that survives. */
class Task implements AsyncDisposable {
  stores: Stores;
  #disk: Disk | undefined;
  readonly #kind: StoreKind;
  readonly #definition: StoreDefinition<string>;
  readonly #flying: Change[][] = [];
  readonly #changelog = new Map<string, Buffer | null>();
  #now = 0n;
  #size = 0;

  private constructor(kind: StoreKind, definition: StoreDefinition<string>, disk: Disk | undefined) {
    this.#kind = kind;
    this.#definition = definition;
    this.#disk = disk;
    this.stores = new Stores([definition], disk);
  }

  static async open(kind: StoreKind, ttl?: number): Promise<Task> {
    const disk = await kind.disk();
    const definition = { name: 'counts', schema: { type: 'long' } };
    const timed = ttl === undefined ? definition : { ...definition, ttlMs: ttl };
    const keys = (each: InputRecord<string>) => [each.value];
    return new Task(kind, disk === undefined ? timed : { ...timed, disk: { keys } }, disk);
  }

  get counts() {
    return this.stores.store<bigint>('counts');
  }

  /** Log time passes to this many microseconds. */
  reach(logTime: bigint): void {
    this.#now = logTime;
    this.stores.advance(logTime);
  }

  /** Begins a transaction. */
  begin(): readonly Change[] {
    const changes = this.stores.takeChanges();
    this.#flying.push(changes);
    return changes;
  }

  /** The oldest transaction is committed. False if there is none. */
  async commit(): Promise<boolean> {
    const changes = this.#flying.shift();
    if (changes === undefined) return false;
    for (const { key, value } of changes) this.#changelog.set(key.toString(), value);
    if (this.#disk === undefined) return true;
    const { operations, sizes } = this.stores.committing();
    await this.#disk.write(operations);
    this.#size = Object.values(sizes)[0] ?? 0;
    this.stores.committed();
    return true;
  }

  async cycle(): Promise<readonly Change[]> {
    const changes = this.begin();
    await this.commit();
    return changes;
  }

  /** Memory is lost; what is on disk goes on. */
  async lose(): Promise<void> {
    if (this.#disk === undefined) return this.restore();
    this.#flying.length = 0;
    this.stores = new Stores([this.#definition], this.#disk);
    this.stores.resume({ counts: this.#size });
    this.stores.advance(this.#now);
  }

  /** Memory and disk are lost; all comes from the changelog. */
  async restore(): Promise<void> {
    this.#flying.length = 0;
    await this.#disk?.close();
    this.#disk = await this.#kind.disk();
    this.stores = new Stores([this.#definition], this.#disk);
    const entries = [...this.#changelog].map(([key, bytes]) => ({ ...this.stores.parse(key), bytes, writtenAt: 0n }));
    const { operations, sizes } = await this.stores.loading(entries);
    await this.#disk?.write(operations);
    this.#size = Object.values(sizes)[0] ?? 0;
    this.stores.advance(this.#now);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disk?.close();
  }
}

/** What a store should hold: a plain map, and what of it is committed. */
class Model {
  readonly #ttl: bigint | undefined;
  #now = 0n;
  #entries = new Map<string, { value: bigint; setAt: bigint }>();
  #committed = new Map<string, { value: bigint; setAt: bigint }>();
  #flying: Map<string, { value: bigint; setAt: bigint }>[] = [];

  constructor(ttl: bigint | undefined) {
    this.#ttl = ttl;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): bigint | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const expired = this.#ttl !== undefined && entry.setAt > 0n && entry.setAt + this.#ttl <= this.#now;
    return expired ? undefined : entry.value;
  }

  put(key: string, value: bigint | null): void {
    if (value === null) this.#entries.delete(key);
    else this.#entries.set(key, { value, setAt: this.#now });
  }

  later(): bigint {
    this.#now += 3n * second;
    return this.#now;
  }

  begin(): void {
    this.#flying.push(new Map(this.#entries));
  }

  commit(did: boolean): void {
    if (did) this.#committed = this.#flying.shift() ?? this.#committed;
  }

  lose(): void {
    this.#flying = [];
    this.#entries = new Map(this.#committed);
  }
}

function record(value: string): InputRecord<string> {
  return { value, topic: 'input', partition: 0, offset: 0n, logTime: 0n, lsn: null };
}

function text(changes: readonly Change[]): string[] {
  return changes.map(({ key, value }) => `${key.toString().split('\u0000')[1]}=${value === null ? 'gone' : 'value'}`);
}
