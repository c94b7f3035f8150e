import { MillraceError } from '../base/errors.ts';

/** A day of a topic in one archive. */
export interface DayName {
  /** Put before everything; empty or ending with a slash. */
  readonly prefix: string;
  /** Epoch of the archive: the cluster id of the log. */
  readonly epoch: string;
  readonly topic: string;
  /** `YYYY-MM-DD` */
  readonly day: string;
}

export interface ObjectName extends DayName {
  readonly partition: number;
  /** Offset of the object's first row. */
  readonly firstOffset: bigint;
}

const longestPart = 200;

/** `<prefix><epoch>/<topic>/year=YYYY/month=MM/day=DD/<topic>+<partition>+<first offset>.parquet` @throws MillraceError CONFIG_INVALID */
export function objectKey(name: ObjectName): string {
  const { topic, partition, firstOffset } = name;
  return `${dayFolder(name)}${part(topic)}+${partition}+${firstOffset.toString().padStart(20, '0')}.parquet`;
}

/**
 * An object that a compaction made, with the plan's offset in archive.replacements and its number in the plan, so that no two plans ever
 * use one name: `<prefix><epoch>/<topic>/year=YYYY/month=MM/day=DD/<topic>+<partition>+<first offset>+r<plan>+<number>.parquet`
 *
 * @throws MillraceError CONFIG_INVALID
 */
export function compactedKey(name: ObjectName, plan: bigint, number: number): string {
  return objectKey(name).replace(/\.parquet$/, `+r${plan}+${number}.parquet`);
}

/** The plan of an object that a compaction made, from its key; undefined for one of the sink. */
export function planOf(key: string): bigint | undefined {
  const found = /\+\d{20}\+r(\d{1,19})\+\d+\.parquet$/.exec(key);
  return found === null ? undefined : BigInt(found[1] as string);
}

/** The day, `YYYY-MM-DD`, of an object or a mark, from its key; empty for another key. */
export function dayOfKey(key: string): string {
  const found = /\/year=(\d{4})\/month=(\d\d)\/day=(\d\d)\//.exec(key);
  return found === null ? '' : found.slice(1).join('-');
}

/**
 * `<prefix><epoch>/_manifest/<topic>/<day>/<number>.json`, the number with 8 digits, so that the newest is the last of a listing.
 *
 * @throws MillraceError CONFIG_INVALID
 */
export function manifestKey({ prefix, epoch, topic, day }: DayName, number: number): string {
  return `${prefix}${part(epoch)}/_manifest/${part(topic)}/${part(day)}/${String(number).padStart(8, '0')}.json`;
}

/**
 * `_SUCCESS.json` beside the day's objects; of a later revision, since nothing is overwritten, `_SUCCESS.<revision>.json`.
 *
 * @throws MillraceError CONFIG_INVALID
 */
export function successKey(name: DayName, revision: number): string {
  return `${dayFolder(name)}_SUCCESS${revision === 1 ? '' : `.${revision}`}.json`;
}

/** Whether a key is one that `successKey` gives. */
export function isSuccessKey(key: string): boolean {
  return /\/day=\d\d\/_SUCCESS(\.\d+)?\.json$/.test(key);
}

function dayFolder({ prefix, epoch, topic, day }: DayName): string {
  const [year = '', month = '', date = ''] = day.split('-');
  const folder = topicFolder({ prefix, epoch, topic });
  return `${folder}year=${part(year)}/month=${part(month)}/day=${part(date)}/`;
}

/** What all objects of a topic and epoch are under: `<prefix><epoch>/<topic>/` @throws MillraceError CONFIG_INVALID */
export function topicFolder({ prefix, epoch, topic }: Pick<ObjectName, 'prefix' | 'epoch' | 'topic'>): string {
  return `${prefix}${part(epoch)}/${part(topic)}/`;
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
