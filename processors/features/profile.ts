import { pow10 } from '../../core/values/decimal.ts';

/** Volume of the prices in one bucket, unscaled at scale 8. */
export interface Bucket {
  /** Edge of the bucket nearer to zero, inclusive. It identifies the bucket. */
  readonly edge: bigint;
  volume: bigint;
}

/**
 * Bucket of a price: the price truncated towards zero to its first `digits` significant digits. So the width of a bucket follows the
 * price's magnitude, and no symbol needs its own setting. The price is unscaled at scale 8; a bucket is at least one unit wide.
 */
export function bucketOf(price: bigint, digits: number): bigint {
  const width = widthOf(price, digits);
  return price - (price % width);
}

/** Both edges of the bucket, the lower first. Zero is its own bucket. */
export function edgesOf(edge: bigint, digits: number): readonly [bigint, bigint] {
  if (edge === 0n) return [0n, 0n];
  const width = widthOf(edge, digits);
  return edge < 0n ? [edge - width, edge] : [edge, edge + width];
}

/** Adds a volume, or subtracts one; an empty bucket is removed. Buckets are sorted by edge, lowest first. */
export function addVolume(buckets: Bucket[], edge: bigint, volume: bigint): void {
  let [low, high] = [0, buckets.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((buckets[middle] as Bucket).edge < edge) low = middle + 1;
    else high = middle;
  }
  const found = buckets[low];
  if (found?.edge !== edge) {
    if (volume !== 0n) buckets.splice(low, 0, { edge, volume });
    return;
  }
  found.volume += volume;
  if (found.volume === 0n) buckets.splice(low, 1);
}

function widthOf(price: bigint, digits: number): bigint {
  const length = (price < 0n ? -price : price).toString().length;
  return pow10(Math.max(0, length - digits));
}
