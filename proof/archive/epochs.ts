import type { ObjectStore } from '../../core/archive/s3/store.ts';

/** Files in the bucket of one other log. */
export interface ForeignEpoch {
  /** Cluster id of that log. */
  readonly epoch: string;
  readonly objects: number;
  readonly bytes: number;
}

/**
 * Finds trees of epochs other than those of the list: logs that are gone, or other clusters. This log cannot say what they should contain,
 * so they are reported and not compared.
 *
 * @param prefix of all keys: empty, or ending with a slash
 */
export async function elsewhere(
  store: ObjectStore,
  prefix: string,
  epoch: string,
  signal?: AbortSignal,
): Promise<readonly ForeignEpoch[]> {
  const found: ForeignEpoch[] = [];
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

/** A foreign folder that is not percent-encoded is reported unchanged. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
