import { MillraceError } from '../../../core/base/errors.ts';
import { type ArchivedTopic, archivedTopics } from '../../../schemas/topics.ts';

/** The parts of an object's name. */
export interface ObjectName {
  readonly key: string;
  readonly epoch: string;
  readonly topic: ArchivedTopic;
  readonly partition: number;
  readonly day: string;
  readonly firstOffset: bigint;
}

/**
 * Parses a key, `s3://<bucket>/<key>`, or a URL of the object store with the bucket in its path. Keys contain percent signs themselves,
 * which an http URL encodes once more.
 *
 * @throws MillraceError CONFIG_INVALID
 */
export function parseObjectName(text: string, bucket: string): ObjectName {
  const key = keyOf(text, bucket);
  const parts = key.split('/');
  const [epoch, topicPart, year, month, day, file] = parts.slice(-6);
  const topic = archivedTopics.find((each) => each === decode(topicPart ?? ''));
  const date = [/^year=(\d{4})$/.exec(year ?? ''), /^month=(\d\d)$/.exec(month ?? ''), /^day=(\d\d)$/.exec(day ?? '')];
  const named = /\+(\d{1,9})\+(\d{20})(?:[^/]*)\.parquet$/.exec(file ?? '');
  if (epoch === undefined || topic === undefined || named === null || date.some((each) => each === null)) {
    throw new MillraceError('CONFIG_INVALID', `${JSON.stringify(text)} names no object of the archive`, {
      remedy: 'give a key or URL as `millrace archive files TOPIC` prints it',
    });
  }
  return {
    key,
    epoch: decode(epoch),
    topic,
    partition: Number(named[1]),
    day: date.map((each) => each?.[1]).join('-'),
    firstOffset: BigInt(named[2] as string),
  };
}

function keyOf(text: string, bucket: string): string {
  const url = /^(s3a?|https?):\/\/([^/]+)\/(.+)$/.exec(text);
  if (url === null) return text.replace(/^\/+/, '');
  const [, scheme = '', host = '', path = ''] = url;
  if (scheme.startsWith('s3')) {
    if (host !== bucket) throw otherBucket(text, host, bucket);
    return path;
  }
  const [plain = ''] = path.split('?', 1);
  const [first = ''] = plain.split('/', 1);
  if (host.startsWith(`${bucket}.`)) return decode(plain);
  if (first !== bucket) throw otherBucket(text, first, bucket);
  return decode(plain.slice(first.length + 1));
}

function otherBucket(text: string, is: string, bucket: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `${text} is in the bucket ${is}, the archive is in ${bucket}`, {
    remedy: 'choose the stack that writes there with --stack, or set MILLRACE_S3_BUCKET',
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
