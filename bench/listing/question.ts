/** Asks one question of a list of very many objects, in a separate process, and prints its cost. Started by bench/cases/listing.ts. */
import { writeFileSync } from 'node:fs';
import { readStanding } from '../../cli/archive/standing.ts';
import { manifestKey, objectKey } from '../../core/archive/keys.ts';
import { readDayObjects } from '../../core/archive/listing/day-objects.ts';
import { daysTopic } from '../../core/archive/listing/days.ts';
import { newestObject } from '../../core/archive/listing/newest.ts';
import { readListing, readObjects } from '../../core/archive/listing/objects.ts';
import { readTotals } from '../../core/archive/listing/totals.ts';
import { formatManifest, totalsOf, writtenIn } from '../../core/archive/manifest.ts';
import { replacementsTopic } from '../../core/archive/replacements.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import type { Log } from '../../core/log/log.ts';
import { sha256Of } from '../../core/values/sha256.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { archivedTopics, objectsTopic, valueSubject } from '../../schemas/topics.ts';
import { peakMib } from '../windows/measure.ts';
import { PackedLog } from './packed-log.ts';

export interface Cost {
  readonly seconds: number;
  /** CPU time of all threads. */
  readonly cpuSeconds: number;
  /** V8's heap after a collection, with the answer still referenced. */
  readonly heapMib: number;
  /** Peak resident memory, less that of the log. */
  readonly peakMib: number;
  /** Number of objects, days or cuts. */
  readonly answer: number;
}

const topic = 'cdc.public.trades';
const partitions = 6;
const rowsPerObject = 500n;
const signal = new AbortController().signal;

const questions = {
  /** The former way to read lists: every object, in an array. */
  array: async ({ log, schemas }) => {
    const found: ArchiveObject[] = [];
    const [from, to] = [await log.starts(objectsTopic(topic)), await log.ends(objectsTopic(topic))];
    for await (const { records } of readObjects(log, schemas, topic, { from, to }, signal)) {
      for (const { object } of records) found.push(object);
    }
    return found;
  },
  list: async ({ log, schemas }) => (await readListing(log, schemas, topic, {}, signal)).objects,
  totals: async ({ log, schemas }) => readTotals({ log, schemas, signal }, topic),
  status: async (sources) => {
    const found = await readStanding({ ...sources, signal }, { targetBytes: 128 << 20, firstKeptDay: undefined });
    return { length: found.reduce((sum, { listed }) => sum + listed.files, 0) };
  },
  day: async (sources) => {
    const days = (day: string) => day === sources.day;
    for await (const { objects } of readDayObjects({ ...sources, signal }, topic, { days })) return objects;
    return [];
  },
  newest: async ({ log, schemas }) => {
    const found = await Promise.all(
      Array.from({ length: partitions }, (_, each) => newestObject(log, schemas, topic, each, { signal })),
    );
    return found.filter((each) => each !== undefined);
  },
} satisfies Record<string, (sources: Sources) => Promise<{ readonly length: number }>>;

export type Question = keyof typeof questions;

interface Sources {
  readonly log: Log;
  readonly schemas: MemorySchemas;
  readonly store: Parameters<typeof readStanding>[0]['store'];
  /** The requested day. */
  readonly day: string;
}

if (import.meta.main) {
  const [question = 'list', objects = '1000000', days = '20'] = process.argv.slice(2);
  const sources = await fill(Number(objects), Number(days));
  globalThis.gc?.();
  // Resets the peak.
  writeFileSync('/proc/self/clear_refs', '5');
  const beforeMib = peakMib(process.pid);
  const [started, startedCpu] = [performance.now(), process.cpuUsage()];
  const answer = await questions[question as Question](sources);
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(startedCpu);
  globalThis.gc?.();
  const cost: Cost = {
    seconds,
    cpuSeconds: (user + system) / 1e6,
    heapMib: process.memoryUsage().heapUsed / 2 ** 20,
    peakMib: peakMib(process.pid) - beforeMib,
    answer: answer.length,
  };
  console.log(JSON.stringify(cost));
}

/** Days of equal size, complete and never compacted. The last one is open, and one percent of it is in no manifest yet. */
async function fill(count: number, days: number): Promise<Sources> {
  const [log, schemas] = [new PackedLog(), new MemorySchemas()];
  for (const each of archivedTopics) log.create(objectsTopic(each), partitions);
  log.create(replacementsTopic, 1);
  log.create(daysTopic, 1);
  const name = objectsTopic(topic);
  const encoder = await AvroEncoder.open<ArchiveObject>(schemas, valueSubject(name), contracts.archive_object);
  const dayEncoder = await AvroEncoder.open<ArchivePartition>(
    schemas,
    valueSubject(daysTopic),
    contracts.archive_partition,
  );
  const perDay = Math.floor(count / days);
  const asked = Math.floor(days / 2);
  const manifests = new Map<string, Buffer>();
  const covers = Array.from({ length: partitions }, () => 0n);
  for (let number = 0; number < days; number++) {
    const day = dayOf(number);
    const own: ArchiveObject[] = [];
    const waits = number === days - 1 ? Math.floor(perDay / 100) : 0;
    for (let each = 0; each < perDay; each++) {
      const object = objectOf(number * perDay + each, day);
      log.append(name, object.partition, encoder.encode(object));
      if (each >= perDay - waits) continue;
      own.push(object);
      covers[object.partition] = (covers[object.partition] ?? 0n) + 1n;
    }
    const key = manifestKey({ prefix: '', epoch: 'bench', topic, day }, 1);
    const head = { epoch: 'bench', topic, day, number: 1, covers: [...covers], replacements: 0n, lostRows: 0n };
    const files = own.map(({ epoch: _, topic: __, day: ___, dead_letters: ____, ...file }) => file);
    const bytes = number === asked ? formatManifest({ ...head, files }) : Buffer.alloc(0);
    if (number === asked) manifests.set(key, bytes);
    const record: ArchivePartition = {
      ...{ epoch: 'bench', topic, day, state: waits > 0 ? 'OPEN' : 'COMPLETE', revision: 1, manifest: 1 },
      ...{ manifest_key: key, manifest_sha256: sha256Of(bytes), success_key: null, passed: null },
      ...totalsOf(files),
      ...{ written: writtenIn(files), covers: [...covers], replacements: 0n, lost_rows: 0n },
    };
    log.append(daysTopic, 0, dayEncoder.encode(record));
  }
  const get = async (key: string) => {
    const bytes = manifests.get(key);
    return bytes === undefined ? undefined : { bytes, metadata: {} };
  };
  return { log: log as unknown as Log, schemas, store: { get } as Sources['store'], day: dayOf(asked) };
}

function dayOf(number: number): string {
  return new Date(Date.UTC(2024, 0, 1 + number)).toISOString().slice(0, 10);
}

function objectOf(number: number, day: string): ArchiveObject {
  const partition = number % partitions;
  const from_offset = BigInt(Math.floor(number / partitions)) * rowsPerObject;
  const hash = sha256Of(Buffer.from(String(number)));
  return {
    ...{ epoch: 'bench', topic, day, partition, from_offset, to_offset: from_offset + rowsPerObject },
    key: objectKey({ prefix: '', epoch: 'bench', topic, day, partition, firstOffset: from_offset }),
    ...{ first_offset: from_offset, last_offset: from_offset + rowsPerObject - 1n, rows: rowsPerObject },
    ...{ row_hash: hash.slice(0, 16), sha256: hash, bytes: 30_000n, dead_letters: 0n, schema_id: 7, writer_version: 2 },
  };
}
