/** Synthetic, repeatable market data for load tests: equal options give equal bytes. */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { formatTimestamp } from '../../core/values/time.ts';

export interface SyntheticOptions {
  readonly rows: number;
  /** Number of symbols. Default 8. */
  readonly symbols?: number;
  /** Seed of the random numbers. Default 1. */
  readonly seed?: number;
  /** Trades of all symbols per second of event time. Default 100. */
  readonly perSecond?: number;
  /** Event time of the first trade, microseconds. Default 2024-01-01. */
  readonly start?: bigint;
  readonly venue?: string;
}

export const syntheticHeader = 'venue,symbol,trade_id,venue_sequence,price,size,side,executed_at\n';

/** Portions of CSV, the header first, sorted by event time. */
export function* syntheticTrades(options: SyntheticOptions): Generator<string> {
  const { rows, symbols = 8, seed = 1, perSecond = 100, venue = 'synthetic' } = options;
  const random = mulberry32(seed);
  const cents = Array.from({ length: symbols }, (_, index) => 10_000 + index * 1_000);
  const names = cents.map((_, index) => `SYM${String(index).padStart(3, '0')}-USD`);
  const stepUs = Math.max(1, Math.floor(2_000_000 / perSecond));
  let at = options.start ?? 1_704_067_200_000_000n;
  let text = syntheticHeader;
  for (let row = 1; row <= rows; row++) {
    const symbol = Math.floor(random() * symbols);
    // A bounded walk; one row in 10,000 jumps, so that rules have anomalies to find.
    const jump = random() < 0.0001 ? 10 : 1;
    const price = Math.max(100, (cents[symbol] ?? 100) + Math.floor((random() - 0.5) * 40) * jump);
    cents[symbol] = price;
    const size = 1 + Math.floor(random() * random() * 1_000_000) * jump;
    at += BigInt(Math.floor(random() * stepUs));
    const side = random() < 0.5 ? 'buy' : 'sell';
    text += `${venue},${names[symbol]},${seed}-${row},${row},${scaled(price, 2)},${scaled(size, 6)},${side},${formatTimestamp(at)}\n`;
    if (text.length > 65_536) {
      yield text;
      text = '';
    }
  }
  yield text;
}

/** Writes the file. The promise rejects if the file is incomplete. */
export async function writeSynthetic(file: string, options: SyntheticOptions, signal?: AbortSignal): Promise<void> {
  const out = createWriteStream(file);
  await pipeline(Readable.from(syntheticTrades(options)), out, signal === undefined ? {} : { signal });
}

function scaled(units: number, scale: number): string {
  const digits = String(units).padStart(scale + 1, '0');
  return `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** The random number generator mulberry32, with 32 bits of state. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
