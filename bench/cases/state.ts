/**
 * State on disk with many keys, without a broker: the processors' stores over LevelDB, driven like by the runtime. Keys of 256 records are
 * fetched ahead, and a commit has 5,000 records. The write of one commit runs beside the folding of the next. The same run measures LevelDB
 * alone with the same bytes, and the store in memory with as many keys as fit. See docs/reference/processing/stores.md.
 */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ClassicLevel } from 'classic-level';
import { wallClock } from '../../core/base/clock.ts';
import type { Committed, Fetcher, Log, LogRecord, Writer } from '../../core/log/log.ts';
import type { InputRecord, Store } from '../../core/processor/define.ts';
import { State } from '../../core/state/state.ts';
import { changeKey } from '../../core/state/stores/keyed.ts';
import { LevelDisks } from '../../core/state/stores/level-disk.ts';
import { Stores } from '../../core/state/stores/stores.ts';
import { ValueCodec } from '../../core/state/stores/value.ts';

export const help = `bench state [--keys 10000000] [--ops 1000000] [--memory-keys 1000000] [--dir DIR] [--json]
  state on disk: writes/s, reads/s, size, memory, restore rate; beside LevelDB alone and the store in memory`;

const batch = 256;
const commitRecords = 5_000;

interface Counter {
  readonly count: bigint;
  readonly notional: bigint;
  readonly last_event: bigint;
  readonly last_id: string;
}

const definition = {
  name: 'counters',
  schema: {
    type: 'record',
    name: 'Counter',
    fields: [
      { name: 'count', type: 'long' },
      { name: 'notional', type: { type: 'bytes', logicalType: 'decimal', precision: 38, scale: 16 } },
      { name: 'last_event', type: { type: 'long', logicalType: 'timestamp-micros' } },
      { name: 'last_id', type: 'string' },
    ],
  },
  disk: { keys: (record: InputRecord<string>) => [record.value] },
};

interface Row {
  readonly what: string;
  readonly on: 'Millrace' | 'LevelDB alone' | 'memory';
  readonly operations: number;
  readonly perSecond: number;
  readonly cpuSecondsPerMillion: number;
  readonly peakRssMib: number;
}

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      keys: { type: 'string', default: '10000000' },
      ops: { type: 'string', default: '1000000' },
      'memory-keys': { type: 'string', default: '1000000' },
      dir: { type: 'string', default: tmpdir() },
      json: { type: 'boolean', default: false },
    },
  });
  const [keys, ops, memoryKeys] = [Number(values.keys), Number(values.ops), Number(values['memory-keys'])];
  const home = await mkdtemp(join(values.dir, 'millrace-bench-state-'));
  const rows: Row[] = [];
  const measure = async (on: Row['on'], what: string, operations: number, work: () => Promise<unknown>) => {
    rows.push(await measured(on, what, operations, work));
    console.error(describe(rows.at(-1) as Row));
  };
  try {
    const sizes = [
      await ours(join(home, 'ours'), keys, ops, measure),
      await bare(join(home, 'bare'), keys, ops, measure),
    ];
    await inMemory(memoryKeys, ops, measure);
    await restored(home, keys, measure);
    const [ourBytes = 0, bareBytes = 0] = sizes;
    const summary = { keys, diskMib: mib(ourBytes), bytesPerKey: ourBytes / keys, bareDiskMib: mib(bareBytes) };
    if (values.json) console.log(JSON.stringify({ rows, ...summary }, null, 2));
    else {
      for (const row of rows) console.log(describe(row));
      console.log(
        `on disk: ${summary.diskMib} MiB, ${summary.bytesPerKey.toFixed(0)} bytes a key; LevelDB alone ${summary.bareDiskMib} MiB`,
      );
    }
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

type Measure = (on: Row['on'], what: string, operations: number, work: () => Promise<unknown>) => Promise<void>;

/** Returns the bytes on disk. */
async function ours(path: string, keys: number, ops: number, measure: Measure): Promise<number> {
  const disk = await new LevelDisks().open(path);
  const stores = new Stores([definition], disk);
  const store = stores.store<Counter>(definition.name);
  let writing: Promise<void> = Promise.resolve();
  const commit = async (): Promise<void> => {
    await writing;
    stores.takeChanges();
    writing = disk.write(stores.committing().operations).then(() => stores.committed());
  };
  const settle = async (): Promise<void> => {
    await commit();
    await writing;
  };
  const drive = async (count: number, keyAt: (i: number) => number, work: (key: string, i: number) => void) => {
    let sinceCommit = 0;
    for (let at = 0; at < count; at += batch) {
      const names = Array.from({ length: Math.min(batch, count - at) }, (_, i) => keyOf(keyAt(at + i)));
      await stores.fetch(names.map(record));
      for (const [i, name] of names.entries()) work(name, at + i);
      sinceCommit += names.length;
      if (sinceCommit < commitRecords) continue;
      sinceCommit = 0;
      await commit();
    }
    await settle();
  };
  await measure('Millrace', 'first writes', keys, () =>
    drive(keys, scattered(keys), (key, i) => store.set(key, counter(i))),
  );
  await measure('Millrace', 'read, change, write', ops, () =>
    drive(ops, random(keys, 1), (key, i) => store.set(key, changed(required(store, key), i))),
  );
  await measure('Millrace', 'reads fetched ahead', ops, () =>
    drive(ops, random(keys, 2), (key) => {
      required(store, key);
    }),
  );
  const at = random(keys, 3);
  await measure('Millrace', 'reads not fetched ahead', ops / 10, async () => {
    for (let i = 0; i < ops / 10; i++) required(store, keyOf(at(i)));
  });
  if (store.size !== keys) throw new Error(`${store.size} keys where ${keys} were written`);
  await disk.close();
  return bytesOf(path);
}

/** LevelDB alone, with the same keys, bytes and batches. */
async function bare(path: string, keys: number, ops: number, measure: Measure): Promise<number> {
  const level = new ClassicLevel<string, Buffer>(path, { valueEncoding: 'buffer' });
  await level.open({ cacheSize: 8 << 20, writeBufferSize: 8 << 20 });
  const codec = new ValueCodec<Counter>(definition);
  const put = async (entries: readonly (readonly [string, Buffer])[]): Promise<void> => {
    const writes = level.batch();
    for (const [key, value] of entries) writes.put(key, value);
    await writes.write();
  };
  await measure('LevelDB alone', 'first writes', keys, async () => {
    const keyAt = scattered(keys);
    for (let at = 0; at < keys; at += commitRecords) {
      const count = Math.min(commitRecords, keys - at);
      await put(
        Array.from({ length: count }, (_, i) => {
          const key = keyOf(keyAt(at + i));
          return [key, codec.encode(key, counter(at + i))] as const;
        }),
      );
    }
  });
  await measure('LevelDB alone', 'read, change, write', ops, async () => {
    const keyAt = random(keys, 1);
    let entries: (readonly [string, Buffer])[] = [];
    for (let at = 0; at < ops; at += batch) {
      const names = Array.from({ length: Math.min(batch, ops - at) }, (_, i) => keyOf(keyAt(at + i)));
      for (const [i, bytes] of (await level.getMany(names)).entries()) {
        const key = names[i] as string;
        entries.push([key, codec.encode(key, changed(codec.decode(key, bytes as Buffer).value, at + i))]);
      }
      if (entries.length < commitRecords) continue;
      await put(entries);
      entries = [];
    }
    await put(entries);
  });
  await measure('LevelDB alone', 'reads fetched ahead', ops, async () => {
    const keyAt = random(keys, 2);
    for (let at = 0; at < ops; at += batch) {
      const names = Array.from({ length: Math.min(batch, ops - at) }, (_, i) => keyOf(keyAt(at + i)));
      for (const [i, bytes] of (await level.getMany(names)).entries())
        codec.decode(names[i] as string, bytes as Buffer);
    }
  });
  await level.close();
  return bytesOf(path);
}

async function inMemory(keys: number, ops: number, measure: Measure): Promise<void> {
  const stores = new Stores([{ name: definition.name, schema: definition.schema }]);
  const store = stores.store<Counter>(definition.name);
  const drive = async (count: number, work: (i: number) => void): Promise<void> => {
    for (let i = 0; i < count; i++) {
      work(i);
      if (i % commitRecords === commitRecords - 1) stores.takeChanges();
    }
    stores.takeChanges();
  };
  const keyAt = scattered(keys);
  await measure('memory', `first writes, ${keys} keys`, keys, () =>
    drive(keys, (i) => store.set(keyOf(keyAt(i)), counter(i))),
  );
  const at = random(keys, 1);
  await measure('memory', `read, change, write, ${keys} keys`, ops, () =>
    drive(ops, (i) => {
      const key = keyOf(at(i));
      store.set(key, changed(required(store, key), i));
    }),
  );
}

/** A takeover without a local copy, from a changelog generated while it is read; then a takeover with the copy. */
async function restored(home: string, keys: number, measure: Measure): Promise<void> {
  await using log = new MadeUpLog(keys);
  await using writer = await log.writer();
  const { signal } = new AbortController();
  const open = async (): Promise<void> => {
    await using state = await State.open({
      processor: 'bench',
      definitions: [definition],
      ownership: { topic: 'input', partition: 0, log, writer, signal },
      clock: wallClock,
      directory: { path: join(home, 'restored'), epoch: 'bench', disks: new LevelDisks() },
    });
    if (state.stores.size !== keys) throw new Error(`${state.stores.size} keys restored where ${keys} were written`);
  };
  await measure('Millrace', 'restore without a copy', keys, open);
  await measure('Millrace', 'takeover with the copy', 1, open);
}

/** A changelog partition with one record for each key, and the barriers written to it. */
class MadeUpLog implements Log {
  readonly #keys: number;
  readonly #keyAt: (i: number) => number;
  readonly #codec = new ValueCodec<Counter>(definition);
  readonly #barriers: LogRecord[] = [];

  constructor(keys: number) {
    this.#keys = keys;
    this.#keyAt = scattered(keys);
  }

  async writer(): Promise<Writer> {
    return {
      transact: async ({ records: [record] }) => {
        if (record === undefined) return [];
        const { topic, partition, key, value, timestamp } = record;
        const baseOffset = BigInt(this.#keys + this.#barriers.length);
        this.#barriers.push({ offset: baseOffset, timestamp, key, value });
        return [{ topic, partition, baseOffset }];
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  fetcher(): Fetcher {
    return {
      fetch: async ([position]) => {
        if (position === undefined) return [];
        const from = Number(position.offset);
        const end = this.#keys + this.#barriers.length;
        const records: LogRecord[] = [];
        for (let i = from; i < Math.min(end, from + 10_000); i++) {
          records.push(i < this.#keys ? this.#entry(i) : (this.#barriers[i - this.#keys] as LogRecord));
        }
        const { topic, partition, offset } = position;
        return [{ topic, partition, from: offset, next: BigInt(from + records.length), records, end: BigInt(end) }];
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  async starts(): Promise<readonly bigint[]> {
    return [0n];
  }

  async ends(): Promise<readonly bigint[]> {
    return [BigInt(this.#keys + this.#barriers.length)];
  }

  async committed(): Promise<readonly Committed[]> {
    return [];
  }

  async join(): Promise<AsyncDisposable> {
    throw new Error('nobody joins this log');
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #entry(i: number): LogRecord {
    const key = keyOf(this.#keyAt(i));
    const value = this.#codec.encode(key, counter(i));
    return { offset: BigInt(i), timestamp: 0n, key: changeKey(definition.name, key), value };
  }
}

async function measured(on: Row['on'], what: string, operations: number, work: () => Promise<unknown>): Promise<Row> {
  globalThis.gc?.();
  let peak = process.memoryUsage.rss();
  const sampler = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 100);
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  await work();
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  clearInterval(sampler);
  return {
    what,
    on,
    operations,
    perSecond: operations / seconds,
    cpuSecondsPerMillion: (user + system) / operations,
    peakRssMib: mib(Math.max(peak, process.memoryUsage.rss())),
  };
}

function describe({ on, what, operations, perSecond, cpuSecondsPerMillion, peakRssMib }: Row): string {
  const rate = operations === 1 ? `${(1 / perSecond).toFixed(2)} s each` : `${Math.round(perSecond)}/s`;
  const cpu = operations === 1 ? '' : `${cpuSecondsPerMillion.toFixed(1)} CPU s a million, `;
  return `${on.padEnd(14)} ${what.padEnd(38)} ${rate.padStart(12)}, ${cpu}peak ${peakRssMib} MiB`;
}

function keyOf(i: number): string {
  return `["bench","SYM${String(i).padStart(8, '0')}"]`;
}

function counter(i: number): Counter {
  return {
    count: 1n,
    notional: 80_517_000_000_000_000n + BigInt(i) * 104_729n,
    last_event: 1_385_423_999_000_000n + BigInt(i),
    last_id: String(2_041_283 + i),
  };
}

function changed(before: Counter, i: number): Counter {
  return { ...before, count: before.count + 1n, last_event: before.last_event + BigInt(i) };
}

function required(store: Store<Counter>, key: string): Counter {
  const value = store.get(key);
  if (value === undefined) throw new Error(`${key} is not there`);
  return value;
}

function record(value: string): InputRecord<string> {
  return { value, topic: 'input', partition: 0, offset: 0n, logTime: 0n, lsn: null };
}

/** A permutation of 0 … n−1, far from in order. */
function scattered(n: number): (i: number) => number {
  let step = Math.floor(n * 0.618) | 1;
  while (gcd(step, n) !== 1) step += 2;
  return (i) => Number((BigInt(i) * BigInt(step)) % BigInt(n));
}

/** Pseudo-random numbers below n, the same in each run. */
function random(n: number, seed: number): (i: number) => number {
  let state = seed * 2_654_435_761;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

async function bytesOf(path: string): Promise<number> {
  const files = await readdir(path);
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(path, file))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function mib(bytes: number): number {
  return Math.round(bytes / 1_048_576);
}
