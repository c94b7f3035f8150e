import type { VersionedStore, VersionedValue } from '../../core/processor/joins/versioned-store.ts';
import { divide, divideRounded, fits, PRICE_SCALE, pow10, rescale } from '../../core/values/decimal.ts';
import type { Features, ProfileBucket, WindowFeatures } from '../../schemas/gen/features.ts';
import type { Bar } from './bar.ts';
import { edgesOf } from './profile.ts';
import type { Rules } from './settings.ts';

/** Scale at which a step's return is rounded before it is squared. The sum of squares is exact, at twice this scale. */
const STEP_SCALE = 18;
const RATIO_SCALE = 16;
const VOLATILITY_SCALE = 8;

export type Figures = Pick<Features, 'price' | 'price_time' | 'windows' | 'profile'> & {
  readonly from_offset: bigint;
  readonly to_offset: bigint;
  readonly to_lsn: bigint;
};

/**
 * Features of a symbol at an instant, only from the bars before it, whatever else the state holds. Undefined when the longest window has no
 * trade.
 *
 * `asOf` and all window lengths are multiples of the step, so a bar is either inside a window or outside.
 */
export function figuresAt(bars: VersionedStore<Bar>, key: string, asOf: number, rules: Rules): Figures | undefined {
  const inside = bars.between(key, asOf - rules.longest, asOf);
  const last = inside.at(-1);
  if (last === undefined) return undefined;
  const before = bars.at(key, asOf - rules.longest - 1);
  const earlier = before.kind === 'version' ? before.version : undefined;
  let [from_offset, to_offset, to_lsn] = [last.value.from_offset, last.value.to_offset, last.value.to_lsn];
  for (const { value } of inside) {
    if (value.from_offset < from_offset) from_offset = value.from_offset;
    if (value.to_offset > to_offset) to_offset = value.to_offset;
    if (value.to_lsn > to_lsn) to_lsn = value.to_lsn;
  }
  return {
    price: last.value.close,
    price_time: BigInt(last.value.close_time),
    windows: windowsOf(inside, earlier, asOf, rules),
    profile: profileOf(inside, rules.digits),
    from_offset,
    to_offset,
    to_lsn,
  };
}

/** One pass from the newest bar back: each longer window continues from the shorter one. */
function windowsOf(
  inside: readonly VersionedValue<Bar>[],
  earlier: VersionedValue<Bar> | undefined,
  asOf: number,
  rules: Rules,
): readonly WindowFeatures[] {
  const price = inside.at(-1)?.value.close ?? 0n;
  let [volume, buy, sell, count] = [0n, 0n, 0n, 0];
  let squares: bigint | undefined = 0n;
  let at = inside.length;
  return rules.windows.map(({ name, length }) => {
    for (; at > 0 && (inside[at - 1] as VersionedValue<Bar>).time >= asOf - length; at--) {
      const { value: bar } = inside[at - 1] as VersionedValue<Bar>;
      volume += bar.buy + bar.sell + bar.unknown;
      buy += bar.buy;
      sell += bar.sell;
      count += bar.trade_count;
      const previous = inside[at - 2] ?? earlier;
      if (previous !== undefined) squares = addSquare(squares, previous.value.close, bar.close);
    }
    const start = (inside[at - 1] ?? earlier)?.value.close;
    const change = start === undefined ? undefined : ratio(start, price, RATIO_SCALE);
    const variance = change === undefined ? undefined : squares;
    return {
      length: name,
      start_price: start ?? null,
      return: change ?? null,
      realised_variance: variance === undefined ? null : roundedVariance(variance),
      realised_volatility: variance === undefined ? null : roundedRoot(variance, 2 * STEP_SCALE, VOLATILITY_SCALE),
      volume,
      buy_volume: buy,
      sell_volume: sell,
      trade_imbalance: buy + sell === 0n ? null : divide(buy - sell, 0, buy + sell, 0, PRICE_SCALE),
      trade_count: BigInt(count),
    };
  });
}

function profileOf(inside: readonly VersionedValue<Bar>[], digits: number): readonly ProfileBucket[] {
  const volumes = new Map<bigint, bigint>();
  for (const { value } of inside) {
    for (const { edge, volume } of value.profile) volumes.set(edge, (volumes.get(edge) ?? 0n) + volume);
  }
  return [...volumes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([edge, volume]) => {
      const [price_from, price_to] = edgesOf(edge, digits);
      return { price_from, price_to, volume };
    });
}

/** (to − from) / from at the given scale; undefined when a price is zero or below. */
function ratio(from: bigint, to: bigint, scale: number): bigint | undefined {
  return from <= 0n || to <= 0n ? undefined : divideRounded((to - from) * pow10(scale), from);
}

function addSquare(sum: bigint | undefined, from: bigint, to: bigint): bigint | undefined {
  const change = ratio(from, to, STEP_SCALE);
  return sum === undefined || change === undefined ? undefined : sum + change * change;
}

function roundedVariance(squares: bigint): bigint | null {
  const rounded = rescale(squares, 2 * STEP_SCALE, RATIO_SCALE);
  return fits(rounded, 38) ? rounded : null;
}

/** Square root of a non-negative number, unscaled at `from`, rounded half up to scale `to`. `from` is at least twice `to`. */
export function roundedRoot(units: bigint, from: number, to: number): bigint {
  const divisor = pow10(from - 2 * to);
  const floor = integerRoot(units / divisor);
  // The midpoint of two results is (floor + 1/2)², compared in integers, times four.
  return 4n * units >= (4n * floor * (floor + 1n) + 1n) * divisor ? floor + 1n : floor;
}

/** Greatest integer whose square does not exceed the number (Newton's iteration from above). */
function integerRoot(number: bigint): bigint {
  if (number < 2n) return number;
  let root = 1n << BigInt((number.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (root + number / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}
