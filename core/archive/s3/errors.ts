import { MillraceError } from '../../base/errors.ts';

/** Where the calls go, for messages; never the password. */
export interface Place {
  readonly endpoint: string;
  readonly bucket: string;
  readonly accessKeyId: string;
}

/** What a failed S3 call means for us. A MillraceError stays what it is. */
export function toS3Error(error: unknown, what: string, place: Place): MillraceError {
  if (error instanceof MillraceError) return error;
  const { name, message } = error as Error;
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
  const wordless = message === '' || message === 'UnknownError';
  const reason = wordless ? `status ${status ?? 'unknown'}` : saying(name, message);
  // A cause without words would only be printed as noise.
  const because = wordless ? {} : { cause: error };
  if (name === 'NoSuchBucket') {
    return new MillraceError('S3_BUCKET_MISSING', `${what}: there is no bucket ${place.bucket} at ${place.endpoint}`, {
      cause: error,
      remedy: 'create the bucket, or correct s3.bucket (MILLRACE_S3_BUCKET)',
    });
  }
  if (status !== undefined && status >= 400 && status < 500 && !passes(status, name)) {
    const who = place.accessKeyId === '' ? 'requests without an access key' : `the access key ${place.accessKeyId}`;
    return new MillraceError('S3_DENIED', `${what}: ${place.endpoint} refuses ${who}: ${reason}`, {
      ...because,
      remedy: remedyOf(name),
    });
  }
  return new MillraceError('S3_UNREACHABLE', `${what}: no answer of use from ${place.endpoint}: ${reason}`, {
    cause: error,
    remedy: 'start the stack with millrace up, or check s3.endpoint (MILLRACE_S3_ENDPOINT)',
  });
}

/** Client errors that are none: the service asks to come back. */
function passes(status: number, name: string): boolean {
  return (
    status === 408 ||
    status === 409 ||
    status === 425 ||
    status === 429 ||
    name === 'RequestTimeout' ||
    name === 'SlowDown'
  );
}

function saying(name: string, message: string): string {
  return message.includes(name) || name === 'Error' ? message : `${name}: ${message}`;
}

function remedyOf(name: string): string {
  switch (name) {
    case 'SignatureDoesNotMatch':
      return 'the secret access key is wrong: correct s3.secretAccessKey (MILLRACE_S3_SECRET_ACCESS_KEY)';
    case 'InvalidAccessKeyId':
      return 'the access key is unknown: correct s3.accessKeyId (MILLRACE_S3_ACCESS_KEY_ID)';
    case 'InvalidBucketName':
      return 'correct s3.bucket (MILLRACE_S3_BUCKET): lower-case letters, digits, dashes and dots, 3 to 63 of them';
    case 'AuthorizationHeaderMalformed':
      return 'the bucket is in another region: correct s3.region (MILLRACE_S3_REGION)';
    case 'RequestTimeTooSkewed':
      return "set this machine's clock: it is too far from the service's";
    default:
      return 'check s3.accessKeyId and s3.secretAccessKey, and that they may read, write and list in the bucket';
  }
}
