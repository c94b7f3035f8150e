/**
 * Objects in a bucket, as the archive needs them. Two implementations: S3 (s3.ts) and one in memory (memory.ts). An object is written
 * once and never changed, so nothing here overwrites.
 */

export interface StoredObject {
  readonly bytes: Buffer;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface ObjectInfo {
  readonly key: string;
  readonly bytes: number;
  /** When it was written, by the clock of the store; milliseconds since 1970. */
  readonly modifiedMs: number;
}

export interface PutOptions {
  /** Small texts kept with the object. Names are lower-case letters and dashes. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/**
 * All methods retry what a retry can cure.
 *
 * @throws MillraceError S3_UNREACHABLE after the last try; S3_DENIED, S3_BUCKET_MISSING at once.
 */
export interface ObjectStore extends AsyncDisposable {
  /**
   * Creates an object, or leaves the one that is there. `exists` is no proof that somebody else wrote it: an earlier try of the same call
   * may have succeeded without an answer. Compare.
   */
  putIfAbsent(key: string, bytes: Uint8Array, options?: PutOptions): Promise<'created' | 'exists'>;
  /** The whole object; undefined when there is none. */
  get(key: string, signal?: AbortSignal): Promise<StoredObject | undefined>;
  /** Size of an object; undefined when there is none. */
  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined>;
  /** Everything under a prefix, in key order. */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectInfo>;
  /** Names of the folders right under a prefix, which is empty or ends with a slash, in order; whatever lies in them is not looked at. */
  folders(prefix: string, signal?: AbortSignal): Promise<readonly string[]>;
  /** Removes objects; those that are not there are no error. */
  remove(keys: readonly string[], signal?: AbortSignal): Promise<void>;
  /** Creates the bucket if it is missing. */
  ensureBucket(signal?: AbortSignal): Promise<void>;
}
