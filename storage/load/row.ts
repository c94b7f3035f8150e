/** One line of a trades file as a row of the table trades, or the reason why it is none. Pure, exact, never through a number. */
import { fits, formatDecimal, PRICE_SCALE, parseDecimal } from '../../core/decimal.ts';
import { formatTimestamp, parseTimestamp } from '../../core/time.ts';
import type { Field, Layout, TimeUnit } from './formats.ts';

/** Values as COPY takes them; null is NULL. */
export interface TradeRow {
  readonly line: number;
  readonly venue: string;
  readonly symbol: string;
  readonly tradeId: string;
  readonly venueSequence: string | null;
  readonly price: string;
  readonly size: string;
  readonly side: string;
  readonly executedAt: string;
  readonly conditions: string | null;
}

/** Why a line is not loaded. */
export class RowError extends Error {}

export interface RowContext {
  readonly layout: Layout;
  readonly given: Readonly<Partial<Record<Field, string>>>;
  /** Ids are `<idPrefix>-<line>` where the file has none. */
  readonly idPrefix: string;
}

const PRECISION = 20;
const INT64_MAX = 9_223_372_036_854_775_807n;
/** The bounds that the table checks, microseconds: 1900 and 9999. */
const EARLIEST = -2_208_988_800_000_000n;
const LATEST = 253_370_764_800_000_000n;
const MAX_TEXT = 200;

/**
 * @param line number of the line in the file, from 1.
 * @throws RowError
 */
export function parseRow(cells: readonly string[], line: number, context: RowContext): TradeRow {
  const { layout, given } = context;
  if (cells.length !== layout.width) throw new RowError(`${cells.length} columns instead of ${layout.width}`);
  const cell = (field: Field): string | undefined => {
    const at = layout.at[field];
    const value = at === undefined ? given[field] : cells[at]?.trim();
    return value === '' ? undefined : value;
  };
  const price = parsePrice(cell('price'), 'price');
  const size = parsePrice(cell('size'), 'size');
  if (size < 0n) throw new RowError('size is negative');
  const sequence = cell('venue_sequence');
  if (layout.at.trade_id !== undefined && cell('trade_id') === undefined) throw new RowError('trade_id is empty');
  return {
    line,
    venue: text(cell('venue'), 'venue'),
    symbol: text(cell('symbol'), 'symbol'),
    tradeId: text(cell('trade_id') ?? `${context.idPrefix}-${line}`, 'trade_id'),
    // The file's order is the best knowledge there is of the order inside one second.
    venueSequence:
      layout.at.venue_sequence === undefined ? String(line) : sequence === undefined ? null : int64(sequence),
    price: formatDecimal(price, PRICE_SCALE),
    size: formatDecimal(size, PRICE_SCALE),
    side: parseSide(cell('side'), layout.makerFlag),
    executedAt: formatTimestamp(parseTime(cell('executed_at'), layout.unit)),
    conditions: cell('conditions') ?? null,
  };
}

function parsePrice(value: string | undefined, field: string): bigint {
  if (value === undefined) throw new RowError(`${field} is empty`);
  const units = attempt(field, () => parseDecimal(value, PRICE_SCALE));
  if (!fits(units, PRECISION))
    throw new RowError(`${field} ${value} has more than ${PRECISION - PRICE_SCALE} digits before the point`);
  return units;
}

function parseTime(value: string | undefined, unit: TimeUnit): bigint {
  if (value === undefined) throw new RowError('executed_at is empty');
  const micros = /^[+-]?\d+(\.\d+)?$/.test(value)
    ? epochMicros(value, unit)
    : attempt('executed_at', () => parseTimestamp(zoned(value)));
  if (micros < EARLIEST || micros >= LATEST)
    throw new RowError(`executed_at ${value} is not between the years 1900 and 9999`);
  return micros;
}

const fractionDigits = { s: 6, ms: 3, us: 0 } as const;

function epochMicros(value: string, unit: TimeUnit): bigint {
  const known = unit === 'auto' ? unitOf(value) : unit;
  if (known !== 'ns') return attempt('executed_at', () => parseDecimal(value, fractionDigits[known]));
  const nanos = attempt('executed_at', () => parseDecimal(value, 0));
  if (nanos % 1000n !== 0n) throw new RowError(`executed_at ${value} is finer than microseconds`);
  return nanos / 1000n;
}

function unitOf(value: string): Exclude<TimeUnit, 'auto'> {
  const digits = value.replace(/^[+-]/, '').split('.', 1)[0]?.length ?? 0;
  if (digits <= 11) return 's';
  if (digits <= 14) return 'ms';
  return digits <= 17 ? 'us' : 'ns';
}

/** Time without a zone is UTC; a date alone is not an instant and is left to be refused. */
function zoned(value: string): string {
  const iso = value.replace(/ UTC$/, 'Z');
  return /\d{2}:\d{2}(:\d{2}(\.\d+)?)?$/.test(iso) && !/[+-]\d{2}:?\d{2}$/.test(iso) ? `${iso}Z` : iso;
}

const sides: Readonly<Record<string, string>> = {
  buy: 'buy',
  b: 'buy',
  bid: 'buy',
  '0': 'buy',
  sell: 'sell',
  s: 'sell',
  ask: 'sell',
  a: 'sell',
  '1': 'sell',
  unknown: 'unknown',
};

function parseSide(value: string | undefined, makerFlag: boolean): string {
  if (value === undefined) return 'unknown';
  const word = value.toLowerCase();
  const side = makerFlag ? { true: 'sell', false: 'buy', '1': 'sell', '0': 'buy' }[word] : sides[word];
  if (side === undefined)
    throw new RowError(`side ${JSON.stringify(value.slice(0, 20))} is none of buy, sell, unknown`);
  return side;
}

function int64(value: string): string {
  if (!/^-?\d{1,19}$/.test(value))
    throw new RowError(`venue_sequence ${JSON.stringify(value.slice(0, 30))} is no whole number`);
  const number = BigInt(value);
  if (number > INT64_MAX || number < -INT64_MAX - 1n)
    throw new RowError(`venue_sequence ${value} does not fit 64 bits`);
  return number.toString();
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
    throw new RowError(`${field}: ${(error as Error).message}`);
  }
}
