import { pow10 } from '../../core/values/decimal.ts';

/** Volume of the prices that share a bucket. Unscaled at scale 8. */
export interface Bucket {
  /** The bucket's edge nearer to zero, which is in it. Names the bucket. */
  readonly edge: bigint;
  volume: bigint;
}

/**
 * The bucket of a price: the price cut off, towards zero, after its first `digits` significant digits. So a bucket's width follows the price's
 * magnitude, and no symbol needs a setting of its own. Price unscaled at scale 8; a bucket is at least one unit wide.
 */
export function bucketOf(price: bigint, digits: number): bigint {
  const width = widthOf(price, digits);
  return price - (price % width);
}

/** The bucket's two edges, the lower first. Zero is a bucket of its own. */
export function edgesOf(edge: bigint, digits: number): readonly [bigint, bigint] {
  if (edge === 0n) return [0n, 0n];
  const width = widthOf(edge, digits);
  return edge < 0n ? [edge - width, edge] : [edge, edge + width];
}

/** Adds a volume, or takes one away; a bucket that is empty goes. Buckets are kept by their edge, lowest first. */
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
