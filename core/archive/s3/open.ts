import { join } from 'node:path';
import { DirectoryStore } from './directory.ts';
import { type S3Options, S3Store } from './s3.ts';
import type { ObjectStore } from './store.ts';

export interface StoreOptions extends S3Options {
  /** Where buckets are directories instead; empty for a service. */
  readonly directory: string;
}

/** The store that is configured. */
export function openStore(options: StoreOptions): ObjectStore {
  return options.directory === '' ? new S3Store(options) : new DirectoryStore(options);
}

/** Where readers find a key: `s3://bucket/key`, or a path. A folder ends with a slash. */
export function urlOfKey({ directory, bucket }: Pick<StoreOptions, 'directory' | 'bucket'>, key: string): string {
  return directory === '' ? `s3://${bucket}/${key}` : join(directory, bucket, key);
}
