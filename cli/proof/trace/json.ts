/** JSON of traces: decimals and 64-bit integers as text, instants as ISO 8601. */
import { formatDecimal, NOTIONAL_SCALE, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';

const micros = [
  'windowStart',
  'windowEnd',
  'executedAt',
  'window_start',
  'window_end',
  'open_time',
  'high_time',
  'low_time',
  'close_time',
];
const millis = ['logTime'];
const prices = ['open', 'high', 'low', 'close', 'vwap', 'volume', 'price', 'size'];

/** The same tree with text in place of scaled integers and microseconds. The names of the fields decide. */
export function readable(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((each) => readable(each, name));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, readable(each, key)]));
  }
  if (typeof value !== 'bigint') return value;
  if (micros.includes(name)) return formatTimestamp(value);
  if (millis.includes(name)) return formatTimestamp(value * 1000n);
  if (prices.includes(name)) return formatDecimal(value, PRICE_SCALE);
  return name === 'notional' ? formatDecimal(value, NOTIONAL_SCALE) : value.toString();
}
