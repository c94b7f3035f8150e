import type { ObjectStore } from '../core/s3/store.ts';

/** What the bucket has of one other log. */
export interface Elsewhere {
  /** Cluster id of that log. */
  readonly epoch: string;
  readonly objects: number;
  readonly bytes: number;
}

/**
 * Trees of other epochs than those whose records list them: a log that is gone, or another one. They are as that log left them, and nothing of this
 * one says what they should be, so they are told and not compared.
 *
 * @param prefix what all keys begin with: empty, or ending with a slash
 */
export async function elsewhere(
  store: ObjectStore,
  prefix: string,
  epoch: string,
  signal?: AbortSignal,
): Promise<readonly Elsewhere[]> {
  const found = new Map<string, { epoch: string; objects: number; bytes: number }>();
  for await (const { key, bytes } of store.list(prefix, signal)) {
    const [other = '', , year = ''] = key.slice(prefix.length).split('/');
    if (other === encodeURIComponent(epoch) || !year.startsWith('year=') || !key.endsWith('.parquet')) continue;
    const name = decodeURIComponent(other);
    const entry = found.get(name) ?? { epoch: name, objects: 0, bytes: 0 };
    entry.objects++;
    entry.bytes += bytes;
    found.set(name, entry);
  }
  return [...found.values()];
}
