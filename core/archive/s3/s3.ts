import { createHash } from 'node:crypto';
import {
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { ExponentialBackoff, handleWhen, type RetryPolicy, retry } from 'cockatiel';
import { isError, MillraceError } from '../../base/errors.ts';
import { toS3Error } from './errors.ts';
import { putLarge } from './multipart.ts';
import type { ObjectInfo, ObjectStore, PutOptions, StoredObject } from './store.ts';

export interface S3Options {
  /** URL of the service, buckets in its path. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Bytes of a part; larger objects are stored in parts. Default 5 MiB, the least that S3 takes. */
  readonly partSize?: number;
  /** Tries of each call before S3_UNREACHABLE. Default 5. */
  readonly attempts?: number;
  /** Longest wait for one try, milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
  /** First wait before another try, milliseconds; it grows, with jitter. Default 100. */
  readonly firstRetryMs?: number;
  /** Told of each try that failed and is followed by another. */
  readonly onRetry?: (error: Error) => void;
}

const longestRetryMs = 5_000;
const removeAtOnce = 1_000;
const smallestPart = 5 * 1024 * 1024;

/** A bucket of an S3-compatible service. */
export class S3Store implements ObjectStore {
  readonly #client: S3Client;
  readonly #options: S3Options;
  readonly #policy: RetryPolicy;
  readonly #closing = new AbortController();

  constructor(options: S3Options) {
    this.#options = options;
    this.#client = new S3Client({
      endpoint: options.endpoint,
      region: options.region,
      credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
      forcePathStyle: true,
      // One place retries: here, where a conditional write's second try is understood.
      maxAttempts: 1,
    });
    this.#policy = retry(
      handleWhen((error) => isError(error, 'S3_UNREACHABLE')),
      {
        maxAttempts: (options.attempts ?? 5) - 1,
        backoff: new ExponentialBackoff({ initialDelay: options.firstRetryMs ?? 100, maxDelay: longestRetryMs }),
      },
    );
    this.#policy.onRetry((reason) => {
      if ('error' in reason) options.onRetry?.(reason.error);
    });
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<'created' | 'exists'> {
    const { bucket, partSize = smallestPart } = this.#options;
    if (bytes.length > partSize) {
      const object = { bucket, key, bytes, metadata: options.metadata, partSize };
      return putLarge(this.#client, object, (what, send) => this.#call(what, options.signal, send));
    }
    const command = {
      Bucket: this.#options.bucket,
      Key: key,
      Body: bytes,
      IfNoneMatch: '*',
      // The service refuses bytes that were damaged on the way.
      ChecksumSHA256: createHash('sha256').update(bytes).digest('base64'),
      ContentType: 'application/octet-stream',
      ...(options.metadata === undefined ? {} : { Metadata: { ...options.metadata } }),
    };
    return this.#call(`storing ${key}`, options.signal, async (abortSignal) => {
      try {
        await this.#client.send(new PutObjectCommand(command), { abortSignal });
        return 'created';
      } catch (error) {
        if (statusOf(error) === 412) return 'exists';
        throw error;
      }
    });
  }

  async get(key: string, signal?: AbortSignal): Promise<StoredObject | undefined> {
    return this.#call(`reading ${key}`, signal, (abortSignal) =>
      unlessMissing(async () => {
        const answer = await this.#client.send(new GetObjectCommand({ Bucket: this.#options.bucket, Key: key }), {
          abortSignal,
        });
        const bytes = await answer.Body?.transformToByteArray();
        return { bytes: Buffer.from(bytes ?? []), metadata: answer.Metadata ?? {} };
      }),
    );
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#call(`looking at ${key}`, signal, (abortSignal) =>
      unlessMissing(async () => {
        const answer = await this.#client.send(new HeadObjectCommand({ Bucket: this.#options.bucket, Key: key }), {
          abortSignal,
        });
        return { key, bytes: answer.ContentLength ?? 0, modifiedMs: answer.LastModified?.getTime() ?? Date.now() };
      }),
    );
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectInfo> {
    for await (const { Contents = [] } of this.#pages({ Prefix: prefix }, signal)) {
      for (const { Key, Size, LastModified } of Contents) {
        if (Key === undefined) continue;
        yield { key: Key, bytes: Size ?? 0, modifiedMs: LastModified?.getTime() ?? Date.now() };
      }
    }
  }

  async folders(prefix: string, signal?: AbortSignal): Promise<readonly string[]> {
    const found: string[] = [];
    for await (const { CommonPrefixes = [] } of this.#pages({ Prefix: prefix, Delimiter: '/' }, signal)) {
      for (const { Prefix = prefix } of CommonPrefixes) found.push(Prefix.slice(prefix.length, -1));
    }
    return found;
  }

  async *#pages(
    what: { readonly Prefix: string; readonly Delimiter?: string },
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ListObjectsV2CommandOutput> {
    let token: string | undefined;
    do {
      const from = token === undefined ? {} : { ContinuationToken: token };
      const page = await this.#call(`listing ${what.Prefix}`, signal, (abortSignal) =>
        this.#client.send(new ListObjectsV2Command({ Bucket: this.#options.bucket, ...what, ...from }), {
          abortSignal,
        }),
      );
      yield page;
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async remove(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    for (let from = 0; from < keys.length; from += removeAtOnce) {
      const some = keys.slice(from, from + removeAtOnce);
      const answer = await this.#call('removing objects', signal, (abortSignal) =>
        this.#client.send(
          new DeleteObjectsCommand({
            Bucket: this.#options.bucket,
            Delete: { Objects: some.map((Key) => ({ Key })), Quiet: true },
          }),
          { abortSignal },
        ),
      );
      const [failed] = answer.Errors ?? [];
      if (failed !== undefined) {
        throw new MillraceError('S3_DENIED', `${failed.Key} was not removed: ${failed.Message ?? failed.Code}`);
      }
    }
  }

  async ensureBucket(signal?: AbortSignal): Promise<void> {
    const { bucket } = this.#options;
    await this.#call(`opening bucket ${bucket}`, signal, async (abortSignal) => {
      try {
        // Not a HEAD: its answer has no body, so it could not say what is wrong.
        await this.#client.send(new ListObjectsV2Command({ Bucket: bucket, MaxKeys: 1 }), { abortSignal });
        return;
      } catch (error) {
        if ((error as Error).name !== 'NoSuchBucket') throw error;
      }
      try {
        await this.#client.send(new CreateBucketCommand({ Bucket: bucket }), { abortSignal });
      } catch (error) {
        // Somebody else was faster.
        if ((error as Error).name !== 'BucketAlreadyOwnedByYou') throw error;
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new MillraceError('S3_UNREACHABLE', 'the store is closed'));
    this.#client.destroy();
  }

  async #call<T>(what: string, signal: AbortSignal | undefined, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stop = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    return this.#policy.execute(async () => {
      stop.throwIfAborted();
      const timeout = AbortSignal.timeout(this.#options.timeoutMs ?? 30_000);
      try {
        return await send(AbortSignal.any([stop, timeout]));
      } catch (error) {
        stop.throwIfAborted();
        if (timeout.aborted) {
          throw toS3Error(new Error(`no answer in ${this.#options.timeoutMs ?? 30_000} ms`), what, this.#options);
        }
        throw toS3Error(error, what, this.#options);
      }
    }, stop);
  }
}

async function unlessMissing<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    const { name } = error as Error;
    if (name === 'NoSuchKey' || name === 'NotFound') return undefined;
    throw error;
  }
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}
