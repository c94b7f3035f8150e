import { AvroDecoder } from '../../core/avro/decoder.ts';
import { isError, MillraceError } from '../../core/base/errors.ts';
import { type Log, type LogRecord, readRange } from '../../core/log/log.ts';
import type { TraceSources } from './sources.ts';
import type { SearchedRange, Trail } from './trail.ts';

/** Offsets of one partition as it is now. */
export interface Bounds {
  readonly start: bigint;
  readonly end: bigint;
}

/** Undefined if the topic does not exist: an earlier release, or a processor that was never set up. */
export async function boundsOf(log: Log, topic: string, partition: number): Promise<Bounds | undefined> {
  try {
    const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
    const end = ends[partition];
    return end === undefined ? undefined : { start: starts[partition] ?? 0n, end };
  } catch (error) {
    if (isError(error, 'TOPIC_MISSING')) return undefined;
    throw error;
  }
}

export interface SearchRange {
  readonly topic: string;
  readonly partition: number;
  /** Default: the start of the log. */
  readonly from?: bigint;
  /** Exclusive. Default: the end of the log now. */
  readonly to?: bigint;
  readonly note?: string;
}

export interface RecordFilter {
  /** Reader schema for the values. */
  readonly reader: object;
  /** Bytes that every wanted value contains; other records are skipped undecoded. Avro keeps texts unchanged. */
  readonly bytes: readonly Buffer[];
}

export interface FoundRecord<T> {
  readonly record: LogRecord;
  readonly value: T;
  readonly searched: SearchedRange;
}

const fetch = { maxWaitMs: 500, maxBytesPerPartition: 1_048_576 };

/**
 * The possibly wanted records of one partition, in offset order. One fetch bounds memory. Undecodable records are skipped, because they are
 * found as dead letters.
 */
export async function* find<T>(
  sources: TraceSources,
  trail: Trail,
  where: SearchRange,
  wanted: RecordFilter,
): AsyncGenerator<FoundRecord<T>> {
  const { log, schemas, signal, onProgress } = sources;
  const { topic, partition, note } = where;
  const what = `${topic}/${partition}`;
  const bounds = await boundsOf(log, topic, partition);
  if (bounds === undefined) {
    trail.search(what, null, 'no such topic');
    return;
  }
  const from = max(where.from ?? 0n, bounds.start);
  const to = where.to === undefined || where.to > bounds.end ? bounds.end : where.to;
  const cut = bounds.start > 0n && from === bounds.start;
  const isAll = from === bounds.start && to === bounds.end;
  const limit = cut ? `the log begins at ${from}` : isAll ? null : (note ?? null);
  const searched = trail.search(what, { from, to }, limit, cut);
  const decoder = new AvroDecoder<T>(schemas, wanted.reader);
  for await (const records of readRange(
    log,
    { topic, partition, from, to },
    signal === undefined ? fetch : { ...fetch, signal },
  )) {
    searched.records += records.length;
    const possible = records.filter(
      ({ value }) => value !== null && wanted.bytes.every((each) => value.includes(each)),
    );
    const missing = decoder.missing(possible.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    for (const record of possible) {
      const value = decoder.decodeIfReadable(record.value);
      if (value !== undefined) yield { record, value, searched };
    }
    const at = records.at(-1)?.offset ?? from;
    onProgress?.({ what, done: Number(at + 1n - from), total: Number(to - from) });
  }
}

/** The offset of the first record of a partition at or after a time; undefined if it cannot be determined. */
export async function offsetAt(
  { offsetsAt }: TraceSources,
  topic: string,
  partition: number,
  millis: bigint | undefined,
): Promise<bigint | undefined> {
  if (offsetsAt === undefined || millis === undefined) return undefined;
  try {
    return (await offsetsAt(topic, Number(millis)))[partition];
  } catch (error) {
    // The topic's own reader reports the problem.
    if (error instanceof MillraceError) return undefined;
    throw error;
  }
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
