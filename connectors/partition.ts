/**
 * Where a trade goes: the partition that the connector's routing transform (Debezium's PartitionRouting, hash function `java`)
 * gives a venue and a symbol. Made of the values only, so a rebuilt registry moves no symbol.
 */

/** Java's `String.hashCode`: s[0]·31^(n-1) + … + s[n-1] over UTF-16 units, in 32 bits. */
export function javaHash(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/** @param partitions Partition count of the topic, as in `transforms.partition.partition.topic.num`. */
export function tradePartition(venue: string, symbol: string, partitions: number): number {
  const hash = (javaHash(venue) + javaHash(symbol)) & 0x7fff_ffff;
  // The transform's own special case; without it one sum in 2^31 would be routed elsewhere.
  return (hash === 0x7fff_ffff ? 0 : hash) % partitions;
}
