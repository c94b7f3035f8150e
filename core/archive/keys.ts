import { MillraceError } from '../errors.ts';

export interface ObjectName {
  /** Put before everything; empty or ending with a slash. */
  readonly prefix: string;
  /** Epoch of the archive: the cluster id of the log. */
  readonly epoch: string;
  readonly topic: string;
  readonly partition: number;
  /** `YYYY-MM-DD` */
  readonly day: string;
  /** Offset of the object's first row. */
  readonly firstOffset: bigint;
}

const longestPart = 200;

/** `<prefix><epoch>/<topic>/year=YYYY/month=MM/day=DD/<topic>+<partition>+<first offset>.parquet` @throws MillraceError CONFIG_INVALID */
export function objectKey(name: ObjectName): string {
  const { prefix, epoch, topic, partition, day, firstOffset } = name;
  const [year = '', month = '', date = ''] = day.split('-');
  const file = `${part(topic)}+${partition}+${firstOffset.toString().padStart(20, '0')}.parquet`;
  return `${prefix}${part(epoch)}/${part(topic)}/year=${part(year)}/month=${part(month)}/day=${part(date)}/${file}`;
}

/** One part of a key. Encoded on its own, so that no value can leave its place in the tree. */
function part(value: string): string {
  const encoded = encodeURIComponent(value);
  if (value === '' || /^\.+$/.test(value) || encoded.length > longestPart) {
    throw new MillraceError('CONFIG_INVALID', `not a part of an object key: ${JSON.stringify(value.slice(0, 60))}`);
  }
  return encoded;
}

/** The configured prefix with exactly one slash at its end, or empty. @throws MillraceError CONFIG_INVALID */
export function normalPrefix(prefix: string): string {
  const parts = prefix.split('/').filter((each) => each !== '');
  return parts.map((each) => `${part(each)}/`).join('');
}
