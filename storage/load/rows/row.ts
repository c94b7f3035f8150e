/** Parses one line of a trades file into a row of the table trades, or rejects it with a reason. Pure, exact, never through a number. */
import { fits, formatDecimal, PRICE_SCALE, parseDecimal } from '../../../core/values/decimal.ts';
import { formatTimestamp, parseTimestamp } from '../../../core/values/time.ts';
import type { Field, TimeUnit } from './formats.ts';
import type { Layout } from './layout.ts';

/** Values in the form of COPY; null is NULL. */
export interface ParsedRow {
  readonly line: number;
  readonly venue: string;
  readonly symbol: string;
  /** Null for a file without ids. */
  readonly tradeId: string | null;
  readonly venueSequence: string | null;
  readonly price: string;
  readonly size: string;
  readonly side: string;
  readonly executedAt: string;
  /** The time in milliseconds since 1970, rounded down. */
  readonly millis: number;
  readonly conditions: string | null;
}

/** A row with its id. */
export interface TradeRow extends ParsedRow {
  readonly tradeId: string;
}

/** The reason for which a line is not loaded. */
export class RowError extends Error {
  /** The reason without the line's values, for counting. */
  readonly kind: string;

  constructor(message: string, kind = message) {
    super(message);
    this.kind = kind;
  }
}

export interface RowContext {
  readonly layout: Layout;
  /** Values for the whole file. */
  readonly given: Readonly<Partial<Record<Field, string>>>;
}

const PRECISION = 20;
const INT64_MAX = 9_223_372_036_854_775_807n;
/** The limits that the table checks, microseconds: 1900 and 9999. */
const EARLIEST = -2_208_988_800_000_000n;
const LATEST = 253_370_764_800_000_000n;
const MAX_TEXT = 200;

/**
 * @param line line number in the file, from 1
 * @throws RowError
 */
export function parseRow(cells: readonly string[], line: number, context: RowContext): ParsedRow {
  const { layout, given } = context;
  if (cells.length !== layout.width) throw new RowError(`${cells.length} columns instead of ${layout.width}`);
  const cell = (field: Field): string | undefined => {
    const at = layout.at[field];
    const value = at === undefined ? given[field] : cells[at]?.trim();
    return value === '' ? undefined : value;
  };
  const price = parsePrice(cell('price'), 'price');
  const size = parsePrice(cell('size'), 'size');
  const signed = layout.side === 'sign';
  if (size < 0n && !signed)
    throw new RowError('size is negative; if that is a sale, give --format bitfinex', 'size is negative');
  const sequence = cell('venue_sequence');
  const id = cell('trade_id');
  const micros = parseTime(cell('executed_at'), layout.unit);
  if (layout.at.trade_id !== undefined && id === undefined) throw new RowError('trade_id is empty');
  return {
    line,
    venue: text(cell('venue'), 'venue'),
    symbol: text(cell('symbol'), 'symbol'),
    tradeId: id === undefined ? null : text(id, 'trade_id'),
    venueSequence: sequence === undefined ? null : int64(sequence),
    price: formatDecimal(price, PRICE_SCALE),
    size: formatDecimal(size < 0n ? -size : size, PRICE_SCALE),
    side: takerSide(signed ? sideOfSign(size) : parseSide(cell('side'), layout.side === 'flag'), layout.turned),
    executedAt: formatTimestamp(micros),
    millis: Math.floor(Number(micros) / 1000),
    conditions: cell('conditions') ?? null,
  };
}

function parsePrice(value: string | undefined, field: string): bigint {
  if (value === undefined) throw new RowError(`${field} is empty`);
  if (value.includes(',')) throw withComma(value, field);
  const units = attempt(field, () => parseDecimal(value, PRICE_SCALE));
  if (!fits(units, PRECISION)) {
    const limit = `more than ${PRECISION - PRICE_SCALE} digits before the point`;
    throw new RowError(`${field} ${value} has ${limit}`, `${field} has ${limit}`);
  }
  return units;
}

function withComma(value: string, field: string): RowError {
  const thousands = /^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(value);
  const fault = thousands ? 'has thousands separators' : 'has a comma; decimals need a point';
  return new RowError(`${field} ${JSON.stringify(value.slice(0, 30))} ${fault}`, `${field} ${fault}`);
}

function parseTime(value: string | undefined, unit: TimeUnit): bigint {
  if (value === undefined) throw new RowError('executed_at is empty');
  const micros = /^[+-]?\d+(\.\d+)?$/.test(value)
    ? epochMicros(value, unit)
    : attempt('executed_at', () => parseTimestamp(zoned(value)));
  if (micros < EARLIEST || micros >= LATEST) {
    const fault = 'is not between the years 1900 and 9999';
    throw new RowError(`executed_at ${value} ${fault}`, `executed_at ${fault}`);
  }
  return micros;
}

const fractionDigits = { s: 6, ms: 3, us: 0 } as const;

function epochMicros(value: string, unit: TimeUnit): bigint {
  const known = unit === 'auto' ? unitOf(value) : unit;
  if (known !== 'ns') return attempt('executed_at', () => parseDecimal(value, fractionDigits[known]));
  const nanos = attempt('executed_at', () => parseDecimal(value, 0));
  if (nanos % 1000n !== 0n) {
    const fault = 'is finer than microseconds';
    throw new RowError(`executed_at ${value} ${fault}`, `executed_at ${fault}`);
  }
  return nanos / 1000n;
}

function unitOf(value: string): Exclude<TimeUnit, 'auto'> {
  const digits = value.replace(/^[+-]/, '').split('.', 1)[0]?.length ?? 0;
  if (digits <= 11) return 's';
  if (digits <= 14) return 'ms';
  return digits <= 17 ? 'us' : 'ns';
}

/**
 * A time without a zone is UTC. A D may replace the T, as in BitMEX files. A date alone is not an instant; it is returned as it is and
 * refused later.
 */
function zoned(value: string): string {
  const iso = value.replace(/ UTC$/, 'Z').replace(/^(\d{4}-\d{2}-\d{2})D/, '$1T');
  return /\d{2}:\d{2}(:\d{2}(\.\d+)?)?$/.test(iso) && !/[+-]\d{2}:?\d{2}$/.test(iso) ? `${iso}Z` : iso;
}

const sides: Readonly<Record<string, string>> = {
  buy: 'buy',
  buyer: 'buy',
  b: 'buy',
  bid: 'buy',
  '0': 'buy',
  sell: 'sell',
  seller: 'sell',
  s: 'sell',
  ask: 'sell',
  a: 'sell',
  '1': 'sell',
  unknown: 'unknown',
};

/** True means that the taker sold, both for `is_buyer_maker` and for `sell`. */
const flags: Readonly<Record<string, string>> = {
  true: 'sell',
  t: 'sell',
  '1': 'sell',
  false: 'buy',
  f: 'buy',
  '0': 'buy',
};

function parseSide(value: string | undefined, flag: boolean): string {
  if (value === undefined) return 'unknown';
  const side = (flag ? flags : sides)[value.toLowerCase()];
  if (side !== undefined) return side;
  const fault = flag ? 'is neither true nor false' : 'is none of buy, sell, unknown';
  throw new RowError(`side ${JSON.stringify(value.slice(0, 20))} ${fault}`, `side ${fault}`);
}

function sideOfSign(size: bigint): string {
  if (size === 0n) return 'unknown';
  return size < 0n ? 'sell' : 'buy';
}

function takerSide(side: string, turned: boolean): string {
  if (!turned || side === 'unknown') return side;
  return side === 'buy' ? 'sell' : 'buy';
}

function int64(value: string): string {
  if (!/^-?\d{1,19}$/.test(value)) throw noSequence(value, 'is no whole number');
  const number = BigInt(value);
  if (number > INT64_MAX || number < -INT64_MAX - 1n) throw noSequence(value, 'does not fit 64 bits');
  return number.toString();
}

function noSequence(value: string, fault: string): RowError {
  return new RowError(`venue_sequence ${JSON.stringify(value.slice(0, 30))} ${fault}`, `venue_sequence ${fault}`);
}

function text(value: string | undefined, field: string): string {
  if (value === undefined) throw new RowError(`${field} is empty`);
  if (value.length > MAX_TEXT) throw new RowError(`${field} is longer than ${MAX_TEXT} characters`);
  // Postgres text has no NUL, and a control character in a key is never meant.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(value)) throw new RowError(`${field} has a control character`);
  if (!value.isWellFormed() || value.includes('\ufffd')) throw new RowError(`${field} is no well-formed Unicode`);
  return value;
}

function attempt<T>(field: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const { message } = error as Error;
    // The value is at the start or the end of the message.
    const fault = /^not a \w+|has more than \d+ fraction digits/.exec(message)?.[0] ?? message;
    throw new RowError(`${field}: ${message}`, `${field}: ${fault}`);
  }
}
