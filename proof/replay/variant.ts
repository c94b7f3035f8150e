import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';
import { readRaw } from '../reading/topic.ts';
import { type Check, Differences } from '../report/report.ts';
import { differences, plain } from './values.ts';

export interface Variants {
  /** Topic of the running version. */
  readonly topic: string;
  /** Topic of the variant; its number of partitions may differ. */
  readonly other: string;
  readonly keySchema: object;
  readonly valueSchema: object;
}

/**
 * Not compared: each version counts its own revisions. The number of PARTIAL records depends on the heartbeats that each version took and
 * journalled.
 */
const counted: ReadonlySet<string> = new Set(['revision']);

/** Compares the final content of two topics: the newest value of each key, in any partition and after any number of revisions. */
export async function compareVariants(
  log: Log,
  schemas: Schemas,
  { topic, other, keySchema, valueSchema }: Variants,
  signal?: AbortSignal,
): Promise<Check> {
  const startedMs = performance.now();
  const found = new Differences();
  const keys = new AvroDecoder<object>(schemas, keySchema);
  const values = new AvroDecoder<object>(schemas, valueSchema);
  const newest = async (name: string): Promise<Map<string, Buffer>> => {
    const held = new Map<string, Buffer>();
    for await (const { records } of readRaw(log, name, signal)) {
      const missing = keys.missing(records.map(({ key }) => key));
      if (missing.length > 0) await keys.prepare(missing);
      for (const { key, value } of records) {
        if (key === null) continue;
        const id = plain(keys.decode(key));
        if (value === null) held.delete(id);
        else held.set(id, value);
      }
    }
    return held;
  };
  const decode = async (bytes: Buffer): Promise<object> => {
    const missing = values.missing([bytes]);
    if (missing.length > 0) await values.prepare(missing);
    return values.decode(bytes);
  };
  const [ours, theirs] = [await newest(topic), await newest(other)];
  for (const [id, value] of ours) {
    const counterpart = theirs.get(id);
    if (counterpart === undefined) found.add(`${id}: in ${topic} only`);
    else {
      const fields = [...differences(await decode(value), await decode(counterpart), '', counted)];
      if (fields.length > 0) found.add(`${id}: ${fields.join('; ').replaceAll(', replayed ', `, in ${other} `)}`);
    }
  }
  for (const id of theirs.keys()) if (!ours.has(id)) found.add(`${id}: in ${other} only`);
  return found.check(`${topic} and ${other}`, `${ours.size} and ${theirs.size} keys`, startedMs);
}
