/** Ways to see what is there that share no code with the traces. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { partitionOf } from '../../core/capture/routing.ts';
import { type Log, readRange } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import type { TradeKey } from '../../schemas/gen/trade_key.ts';
import { eventually } from '../support/patience.ts';

const portion = { maxWaitMs: 100, maxBytesPerPartition: 1 << 20 };

/** The newest record of every partition is processed. @param pairs names of processors or sinks, with their topics */
export async function settled(log: Log, pairs: readonly (readonly [name: string, topic: string])[]): Promise<void> {
  const behind = async (name: string, topic: string): Promise<boolean> => {
    const committed = await log.committed(groupOf(name), topic);
    for (const [partition, to] of (await log.ends(topic)).entries()) {
      const from = committed.find((each) => each.partition === partition)?.offset ?? 0n;
      for await (const records of readRange(log, { topic, partition, from, to }, portion)) {
        if (records.length > 0) return true;
      }
    }
    return false;
  };
  await eventually(async () => {
    for (const [name, topic] of pairs) if (await behind(name, topic)) return false;
    return true;
  });
}

interface Envelope {
  readonly op: string;
  readonly source: Readonly<Record<string, unknown>>;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
}

/** What the log has of a trade, by the connector's own schema, not by ours. */
export async function changesOfTrade(
  { log, schemas }: { readonly log: Log; readonly schemas: Schemas },
  { venue, symbol, trade_id }: TradeKey & { readonly trade_id: string },
) {
  const topic = 'cdc.public.trades';
  const partition = partitionOf([venue, symbol], (await log.ends(topic)).length);
  const to = (await log.ends(topic))[partition] ?? 0n;
  const from = (await log.starts(topic))[partition] ?? 0n;
  const decoder = new AvroDecoder<Envelope>(schemas, null);
  const found: { offset: bigint; op: string; lsn: bigint; txId: bigint }[] = [];
  for await (const records of readRange(log, { topic, partition, from, to }, portion)) {
    await decoder.prepare(decoder.missing(records.map(({ value }) => value)));
    for (const { offset, value } of records) {
      if (value === null) continue;
      const { op, source, after, before } = decoder.decode(value);
      if ((after ?? before)?.['trade_id'] !== trade_id) continue;
      found.push({ offset, op, lsn: source['lsn'] as bigint, txId: source['txId'] as bigint });
    }
  }
  return { partition, found };
}

/** Runs SQL over an object of the bucket, as FILE. */
export async function inFile(store: ObjectStore, key: string, sql: string): Promise<Record<string, unknown>[]> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-witness-'));
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    const stored = await store.get(key);
    if (stored === undefined) throw new Error(`${key} is not there`);
    const path = join(dir, 'object.parquet');
    await writeFile(path, stored.bytes);
    return (await connection.runAndReadAll(sql.replaceAll('FILE', `'${path}'`))).getRowObjects();
  } finally {
    connection.closeSync();
    instance.closeSync();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Puts another object under a key while the work is done. */
export async function replaced(
  store: ObjectStore,
  key: string,
  bytes: Buffer | undefined,
  work: () => Promise<void>,
): Promise<void> {
  const original = await store.get(key);
  if (original === undefined) throw new Error(`${key} is not there`);
  const put = async (content: Buffer | undefined) => {
    await store.remove([key]);
    if (content !== undefined) await store.putIfAbsent(key, content, { metadata: original.metadata });
  };
  await put(bytes);
  try {
    await work();
  } finally {
    await put(original.bytes);
  }
}
