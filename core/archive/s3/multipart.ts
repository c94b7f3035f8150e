import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { MillraceError } from '../../base/errors.ts';
import { inLanes } from '../../lanes.ts';

/** Sends one request: retried, with a timeout, its errors in our words. */
export type Call = <T>(what: string, send: (signal: AbortSignal) => Promise<T>) => Promise<T>;

export interface LargeObject {
  readonly bucket: string;
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly partSize: number;
}

const lanes = 4;
const tries = 3;

/**
 * Creates a large object in parts, or leaves the one that is there. Nothing is to be seen of it until it is complete, and it is completed
 * only if nobody else was faster, so it is written once as any other.
 *
 * Parts of a try that nobody finished cost money and are in no listing. Whoever finds the object there, made by itself or not, drops them:
 * from then on nobody can need them. Names are those of planned cuts, so somebody always comes to finish.
 */
export async function putLarge(client: S3Client, object: LargeObject, call: Call): Promise<'created' | 'exists'> {
  const at = { Bucket: object.bucket, Key: object.key };
  const exists = () =>
    call(`looking at ${object.key}`, (abortSignal) =>
      unlessMissing(() => client.send(new HeadObjectCommand(at), { abortSignal })),
    );
  // Of a second try mostly; its parts would be sent for nothing.
  if (await exists()) {
    await dropUploads(client, object, call);
    return 'exists';
  }
  for (let attempt = 1; ; attempt++) {
    const { UploadId } = await call(`storing ${object.key}`, (abortSignal) =>
      client.send(
        new CreateMultipartUploadCommand({
          ...at,
          ChecksumAlgorithm: 'SHA256',
          ContentType: 'application/octet-stream',
          ...(object.metadata === undefined ? {} : { Metadata: { ...object.metadata } }),
        }),
        { abortSignal },
      ),
    );
    try {
      const Parts = await sendParts(client, object, UploadId, call);
      const outcome = await call(`completing ${object.key}`, async (abortSignal) => {
        const complete = { ...at, UploadId, IfNoneMatch: '*', MultipartUpload: { Parts } };
        return client.send(new CompleteMultipartUploadCommand(complete), { abortSignal }).then(
          () => 'created' as const,
          (error: unknown) => outcomeOf(error),
        );
      });
      if (outcome === 'created' || (await exists())) {
        await dropUploads(client, object, call);
        return outcome === 'created' ? 'created' : 'exists';
      }
    } catch (error) {
      if (!isGone(error)) {
        await abort(client, object, UploadId, call);
        throw error;
      }
    }
    if (attempt === tries) {
      throw new MillraceError('S3_UNREACHABLE', `storing ${object.key}: its parts were dropped ${tries} times`);
    }
  }
}

async function sendParts(client: S3Client, object: LargeObject, UploadId: string | undefined, call: Call) {
  const { bucket, key, bytes, partSize } = object;
  const numbers = Array.from({ length: Math.ceil(bytes.length / partSize) }, (_, i) => i + 1);
  return inLanes(numbers, lanes, async (PartNumber): Promise<CompletedPart> => {
    const Body = bytes.subarray((PartNumber - 1) * partSize, PartNumber * partSize);
    const ChecksumSHA256 = createHash('sha256').update(Body).digest('base64');
    const part = { Bucket: bucket, Key: key, UploadId, PartNumber, Body, ChecksumSHA256 };
    const { ETag } = await call(`storing part ${PartNumber} of ${key}`, (abortSignal) =>
      client.send(new UploadPartCommand(part), { abortSignal }),
    );
    return { PartNumber, ETag, ChecksumSHA256 };
  });
}

/** Everything that was begun under the key of an object that is there; as far as it goes, since the object is what counts. */
async function dropUploads(client: S3Client, { bucket, key }: LargeObject, call: Call): Promise<void> {
  const uploads = await call(`looking for parts of ${key}`, (abortSignal) =>
    client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key }), { abortSignal }),
  ).catch(() => undefined);
  for (const { Key, UploadId } of uploads?.Uploads ?? []) {
    if (Key === key) await abort(client, { bucket, key }, UploadId, call);
  }
}

/** As far as it goes: what is left is dropped by whoever finishes the object. */
async function abort(
  client: S3Client,
  { bucket, key }: Pick<LargeObject, 'bucket' | 'key'>,
  UploadId: string | undefined,
  call: Call,
): Promise<void> {
  await call(`dropping parts of ${key}`, (abortSignal) =>
    client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId }), { abortSignal }),
  ).catch(() => undefined);
}

function outcomeOf(error: unknown): 'exists' | 'gone' {
  if ((error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode === 412) return 'exists';
  // Completed by a try without an answer, or dropped by somebody who found the object there.
  if (isGone(error)) return 'gone';
  throw error;
}

function isGone(error: unknown): boolean {
  return [error, (error as Error).cause].some((each) => (each as Error | undefined)?.name === 'NoSuchUpload');
}

async function unlessMissing(look: () => Promise<unknown>): Promise<boolean> {
  try {
    await look();
    return true;
  } catch (error) {
    const { name } = error as Error;
    if (name === 'NoSuchKey' || name === 'NotFound') return false;
    throw error;
  }
}
