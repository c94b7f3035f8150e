/**
 * A timer set with each record, no broker: a processor's engine over records in memory, its changes taken every 5,000 records as a commit takes them.
 * Beside it, in the same run, the same fold without timers and with a heap of its own. See docs/adr/0022-timers-are-state.md.
 */
import { parseArgs } from 'node:util';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import { prepareDecoder } from '../../core/log/decoding.ts';
import type { LogRecord } from '../../core/log/log.ts';
import { type Context, defineProcessor, type Fold, type Processor } from '../../core/processor/define.ts';
import { Heap, type HeapEntry } from '../../core/processor/heap.ts';
import { openCodecs } from '../../core/runtime/fold/codecs.ts';
import { Engine, unmetered } from '../../core/runtime/fold/engine.ts';
import { Stores } from '../../core/state/stores/stores.ts';

export const help = `bench timers [--records 1000000] [--keys 50000] [--wait-ms 60000] [--runs 3] [--json]
  CPU of a fold that sets the timer of its key with each record, 300,000 of them a second of log time; changelog records; restore`;

interface Tick {
  readonly key: string;
}
const schema = { type: 'record', name: 'Tick', fields: [{ name: 'key', type: 'string' }] };
const commitRecords = 5_000;

type Kind = 'none' | 'heap' | 'derived' | 'stored';
const kinds: readonly Kind[] = ['none', 'heap', 'derived', 'stored'];

interface Result {
  readonly kind: Kind;
  readonly cpuMicrosPerRecord: number;
  readonly recordsPerSecond: number;
  readonly changes: number;
  readonly restoreSeconds: number;
}

/** Keeps the time of the newest record by key, and waits for the next one; a key without it is forgotten. @param wait microseconds */
function waiting(kind: Kind, wait: bigint): Processor<Tick> {
  return defineProcessor<Tick>({
    name: 'waiting',
    version: '1',
    inputs: [{ topic: 'ticks', schema, kind: 'derived' }],
    outputs: [],
    stores: [{ name: 'newest', schema: { type: 'long' } }],
    ...(kind === 'derived' || kind === 'stored' ? { timers: kind } : {}),
    create: (context) => (kind === 'heap' ? ownHeap(context, wait) : byTimers(context, kind, wait)),
  });
}

function byTimers(context: Context<Tick>, kind: Kind, wait: bigint): Fold<Tick> {
  const newest = context.store<bigint>('newest');
  return {
    restored() {
      if (kind !== 'derived') return;
      for (const [key, at] of newest.entries()) context.timers.set(key, at + wait);
    },
    record({ value: { key }, logTime }) {
      newest.set(key, logTime);
      if (kind !== 'none') context.timers.set(key, logTime + wait);
    },
    onTimer: (key) => newest.delete(key),
  };
}

function ownHeap(context: Context<Tick>, wait: bigint): Fold<Tick> {
  const newest = context.store<bigint>('newest');
  const entries = new Map<string, HeapEntry & { readonly tie: string }>();
  const heap = new Heap<HeapEntry & { readonly tie: string }>();
  const put = (key: string, due: number) => {
    const entry = entries.get(key) ?? { due, tie: key, slot: -1 };
    entries.set(key, entry);
    heap.set(entry, due);
  };
  return {
    restored() {
      for (const [key, at] of newest.entries()) put(key, Number(at + wait));
    },
    record({ value: { key }, logTime }) {
      newest.set(key, logTime);
      put(key, Number(logTime + wait));
    },
    deadline() {
      const first = heap.first();
      return first === undefined ? undefined : BigInt(first.due);
    },
    advance() {
      const now = Number(context.logTime);
      for (let first = heap.first(); first !== undefined && first.due <= now; first = heap.first()) {
        heap.delete(first);
        entries.delete(first.tie);
        newest.delete(first.tie);
      }
    },
  };
}

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      records: { type: 'string', default: '1000000' },
      keys: { type: 'string', default: '50000' },
      'wait-ms': { type: 'string', default: '60000' },
      runs: { type: 'string', default: '3' },
      json: { type: 'boolean', default: false },
    },
  });
  const [records, keys, wait] = [Number(values.records), Number(values.keys), BigInt(values['wait-ms']) * 1_000n];
  const results: Result[] = [];
  for (let round = 0; round < Number(values.runs); round++) {
    for (const kind of kinds) results.push(await measure(waiting(kind, wait), kind, records, keys));
  }
  const best = kinds.map((kind) =>
    results
      .filter((each) => each.kind === kind)
      .reduce((a, b) => (a.cpuMicrosPerRecord <= b.cpuMicrosPerRecord ? a : b)),
  );
  if (values.json) console.log(JSON.stringify(best, null, 2));
  else for (const each of best) console.log(describe(each));
}

async function measure(processor: Processor<Tick>, kind: Kind, count: number, keys: number): Promise<Result> {
  const schemas = new MemorySchemas();
  const codecs = await openCodecs(processor, schemas);
  const encoder = await AvroEncoder.open<Tick>(schemas, 'ticks-value', schema);
  const bytes = Array.from({ length: keys }, (_, i) => encoder.encode({ key: `venue/symbol-${i}` }));
  const decoder = codecs.inputs.get('ticks');
  if (decoder !== undefined) await prepareDecoder(decoder, [bytes[0] as Buffer], new AbortController().signal);
  const engineOver = (stores: Stores) =>
    new Engine<Tick>(
      {
        processor,
        codecs,
        partition: 0,
        metrics: unmetered,
        partitionsOf: () => 1,
        turn: () => Promise.resolve(),
        async *read() {},
      },
      stores,
      undefined,
    );
  const engine = engineOver(new Stores(processor.stores));
  let changes = 0;
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  for (let at = 0; at < count; at += commitRecords) {
    // Keys in an order without a pattern; 300,000 records a second of log time.
    const records = Array.from({ length: Math.min(commitRecords, count - at) }, (_, i): LogRecord => {
      const value = bytes[((at + i) * 7_919) % keys] as Buffer;
      return { offset: BigInt(at + i), timestamp: BigInt(Math.floor((at + i) / 300)), key: null, value, headers: {} };
    });
    await engine.fold('ticks', records);
    changes += engine.stores.takeChanges().length;
  }
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - startedMs) / 1000;
  const entries = [...engine.stores.encoded()];
  const restoreMs = performance.now();
  const restored = new Stores(processor.stores);
  for (const { key, value } of entries) restored.load(key, value);
  engineOver(restored);
  const restoreSeconds = (performance.now() - restoreMs) / 1000;
  return {
    kind,
    cpuMicrosPerRecord: (user + system) / count,
    recordsPerSecond: count / seconds,
    changes,
    restoreSeconds,
  };
}

function describe({ kind, cpuMicrosPerRecord, recordsPerSecond, changes, restoreSeconds }: Result): string {
  return [
    `${kind.padEnd(8)} ${cpuMicrosPerRecord.toFixed(2)} CPU µs a record`,
    `${Math.round(recordsPerSecond).toLocaleString('en')} records/s`,
    `${changes.toLocaleString('en')} changelog records`,
    `restored in ${restoreSeconds.toFixed(3)} s`,
  ].join(', ');
}
