import { type Log, type LogRecord, readRange } from '../../log/log.ts';
import type { StoreDefinition } from '../../processor/define.ts';
import { barrierKey, changelogTopic, taskKey } from '../changelog/changelog.ts';
import { parseKey } from '../stores/keyed.ts';
import { headerOf, ValueCodec } from '../stores/value.ts';
import { renderValue } from './render.ts';

/** A committed entry of a task's state, as its changelog has it. */
export interface CommittedEntry {
  readonly partition: number;
  readonly store: string;
  readonly key: string;
  readonly bytes: Buffer;
  /** Of its record in the changelog. */
  readonly offset: bigint;
  /** Log time of the commit that wrote it, milliseconds. */
  readonly timestamp: bigint;
}

export interface CommittedQuery {
  readonly processor: string;
  /** Default: all. */
  readonly partition?: number | undefined;
  /** Default: all. */
  readonly store?: string | undefined;
  /** Default: all. */
  readonly key?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Entries of one partition, in the order of store and key. */
export interface CommittedPartition {
  readonly partition: number;
  readonly entries: readonly CommittedEntry[];
}

/**
 * The committed state of a processor's tasks, read from the changelog as it ends now: right whether a task runs or not, and wherever. It reads the
 * changelog of each partition whole, and holds what the query asks for in memory.
 *
 * @throws what the log throws, TOPIC_MISSING for a processor without state.
 */
export async function* readCommitted(log: Log, query: CommittedQuery): AsyncGenerator<CommittedPartition> {
  const topic = changelogTopic(query.processor);
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  const options = { maxWaitMs: 250, maxBytesPerPartition: 4 << 20 };
  for (const [partition, from] of starts.entries()) {
    if (query.partition !== undefined && query.partition !== partition) continue;
    const entries = new Map<string, CommittedEntry>();
    const range = { topic, partition, from, to: ends[partition] ?? 0n };
    const signal = query.signal === undefined ? {} : { signal: query.signal };
    for await (const records of readRange(log, range, { ...options, ...signal })) {
      for (const record of records) take(entries, partition, record, query);
    }
    const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
    yield { partition, entries: sorted };
  }
}

function take(
  entries: Map<string, CommittedEntry>,
  partition: number,
  { key, value, offset, timestamp }: LogRecord,
  query: CommittedQuery,
): void {
  if (key === null || key.equals(taskKey) || key.equals(barrierKey)) return;
  const text = key.toString('utf8');
  const parsed = parseKey(text);
  if (parsed === undefined) return;
  if (query.store !== undefined && query.store !== parsed.store) return;
  if (query.key !== undefined && query.key !== parsed.key) return;
  // A copy: a slice of the fetched bytes would hold all of them.
  if (value !== null) entries.set(text, { partition, ...parsed, bytes: Buffer.from(value), offset, timestamp });
  else entries.delete(text);
}

export interface StoreSummary {
  readonly partition: number;
  readonly store: string;
  readonly entries: number;
  readonly bytes: number;
  /** How many entries were written with each version of the schema: a migration is needed for as long as its version is here. */
  readonly versions: Readonly<Record<string, number>>;
}

export function summarize({ partition, entries }: CommittedPartition): readonly StoreSummary[] {
  const stores = new Map<string, { entries: number; bytes: number; versions: Record<string, number> }>();
  for (const { store, bytes } of entries) {
    const summary = stores.get(store) ?? { entries: 0, bytes: 0, versions: {} };
    stores.set(store, summary);
    const version = `${headerOf(bytes)?.version ?? 'unknown'}`;
    summary.entries++;
    summary.bytes += bytes.length;
    summary.versions[version] = (summary.versions[version] ?? 0) + 1;
  }
  return [...stores].map(([store, summary]) => ({ partition, store, ...summary }));
}

/** Shows values as JSON, by the schemas of the declaration. */
export class Shower {
  readonly #codecs: ReadonlyMap<string, ValueCodec<unknown>>;

  constructor(definitions: readonly StoreDefinition<never>[]) {
    this.#codecs = new Map(definitions.map((each) => [each.name, new ValueCodec<unknown>(each)]));
  }

  /** @throws MillraceError STATE_CORRUPT, STATE_VERSION */
  show({ store, key, bytes }: CommittedEntry): { readonly value: unknown; readonly setAt: bigint | undefined } {
    const codec = this.#codecs.get(store);
    if (codec === undefined) return { value: bytes.toString('hex'), setAt: undefined };
    const { value, setAt } = codec.decode(key, bytes);
    return { value: renderValue(codec.schema, value), setAt };
  }
}
