import { MillraceError } from '../../base/errors.ts';
import { sha256Of } from '../../values/sha256.ts';
import type { ObjectStore } from './store.ts';

/** What is to be stored, and by what two stores of the same rows in other bytes are recognised. */
export interface Once {
  readonly key: string;
  readonly bytes: Buffer;
  /** Of the bytes, hexadecimal. */
  readonly sha256: string;
  /** What is the same for the same rows whoever wrote them: counts and hashes. */
  readonly content: Readonly<Record<string, string>>;
  /** What decides the bytes beside the content. */
  readonly build: string;
}

/** What is stored under the key now. */
export interface Kept {
  readonly sha256: string;
  readonly bytes: number;
  /** False when it was there already. */
  readonly created: boolean;
}

/**
 * Stores an object exactly once, however often it is tried and by whom. An object of another build with the same content is kept and
 * described as it is.
 *
 * @throws MillraceError S3_CONFLICT: something else is under the key; what `ObjectStore` throws.
 */
export async function putOnce(store: ObjectStore, once: Once, signal?: AbortSignal): Promise<Kept> {
  const metadata = { ...once.content, build: once.build };
  const options = signal === undefined ? { metadata } : { metadata, signal };
  if ((await store.putIfAbsent(once.key, once.bytes, options)) === 'created') {
    return { sha256: once.sha256, bytes: once.bytes.length, created: true };
  }
  const found = await store.get(once.key, signal);
  if (found === undefined) {
    throw new MillraceError(
      'S3_UNREACHABLE',
      `${once.key} was there and is gone: it is being removed by somebody else`,
    );
  }
  const sha256 = sha256Of(found.bytes);
  const kept = { sha256, bytes: found.bytes.length, created: false };
  if (sha256 === once.sha256) return kept;
  const sameContent = Object.entries(once.content).every(([name, value]) => found.metadata[name] === value);
  if (found.metadata['build'] !== undefined && found.metadata['build'] !== once.build && sameContent) return kept;
  throw new MillraceError(
    'S3_CONFLICT',
    `${once.key} holds other bytes (sha256 ${sha256.slice(0, 12)}…) than this partition's records make (${once.sha256.slice(0, 12)}…)`,
    {
      remedy:
        'find out who writes to this prefix; move that object away and start again: it is written anew from the log',
    },
  );
}
