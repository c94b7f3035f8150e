/**
 * Partition of a record by its values, equal to Debezium's PartitionRouting transform (hash function `java`). It depends on the values only,
 * so a rebuilt registry moves no key. Millrace routes its own records with it, to the same partitions as the connector.
 */

/** Java's `String.hashCode`: s[0]·31^(n-1) + … + s[n-1] over UTF-16 units, in 32 bits. */
export function javaHash(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/**
 * The partition of these values: the sum of their hashes, without its sign bit, modulo the count. The order of the values does not matter.
 *
 * @param partitions Partition count of the topic, as in `transforms.partition.partition.topic.num`.
 */
export function partitionOf(values: readonly string[], partitions: number): number {
  let sum = 0;
  for (const value of values) sum = (sum + javaHash(value)) | 0;
  const hash = sum & 0x7fff_ffff;
  // The transform's own special case; without it one sum in 2^31 would be routed elsewhere.
  return (hash === 0x7fff_ffff ? 0 : hash) % partitions;
}
