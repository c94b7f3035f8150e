import type { ObjectStore } from '../../core/archive/s3/store.ts';

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
  const found: Elsewhere[] = [];
  for (const other of await store.folders(prefix, signal)) {
    if (other === encodeURIComponent(epoch)) continue;
    const tree = `${prefix}${other}/`;
    let [objects, size] = [0, 0];
    for await (const { key, bytes } of store.list(tree, signal)) {
      const [, year = ''] = key.slice(tree.length).split('/');
      if (!year.startsWith('year=') || !key.endsWith('.parquet')) continue;
      objects++;
      size += bytes;
    }
    if (objects > 0) found.push({ epoch: decoded(other), objects, bytes: size });
  }
  return found;
}

/** Somebody else's folder is no part of a key of ours: it is told as it is. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
