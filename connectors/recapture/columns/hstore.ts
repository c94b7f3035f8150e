/** `hstore` as Debezium writes it: JSON with the keys in the order of Java's `HashMap`. */
import { javaHash } from '../../../core/capture/routing.ts';

/** @param json JSON of Postgres: an object of texts and nulls */
export function hstoreText(json: string): string {
  const pairs = Object.entries(JSON.parse(json) as Record<string, string | null>);
  // Postgres' order: by length, then by bytes. Keys of one hash bucket keep it.
  pairs.sort(
    ([a], [b]) => Buffer.byteLength(a) - Buffer.byteLength(b) || Buffer.compare(Buffer.from(a), Buffer.from(b)),
  );
  let buckets = 16;
  while (pairs.length > buckets * 0.75) buckets *= 2;
  const bucketOf = (key: string): number => {
    const hash = javaHash(key);
    return (hash ^ (hash >>> 16)) & (buckets - 1);
  };
  const ordered = pairs
    .map(([key, value]) => ({ bucket: bucketOf(key), text: `${quote(key)}:${value === null ? 'null' : quote(value)}` }))
    .sort((a, b) => a.bucket - b.bucket);
  return `{${ordered.map(({ text }) => text).join(',')}}`;
}

/** Jackson writes the escapes of control characters in upper case. */
function quote(text: string): string {
  return JSON.stringify(text).replace(/\\u00[01][0-9a-f]/g, (code) => `\\u${code.slice(2).toUpperCase()}`);
}
