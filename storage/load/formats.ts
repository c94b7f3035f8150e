/** What a trades file's columns mean. */
import { MillraceError } from '../../core/errors.ts';

export const fields = [
  'venue',
  'symbol',
  'trade_id',
  'venue_sequence',
  'price',
  'size',
  'side',
  'executed_at',
  'conditions',
] as const;
export type Field = (typeof fields)[number];

/** `auto` tells seconds, milli-, micro- and nanoseconds apart by the number of digits: right for 1973 to 2286. */
export type TimeUnit = 'auto' | 's' | 'ms' | 'us' | 'ns';

export interface Format {
  readonly about: string;
  /** Column names per field, in lower case; the first that the file has is taken. */
  readonly columns: Readonly<Partial<Record<Field, readonly string[]>>>;
  /** Of numeric timestamps. */
  readonly unit: TimeUnit;
  /** Names for a file without a header line. */
  readonly header?: readonly string[];
  /** Given where the file has no such column. */
  readonly venue?: string;
}

export const formats = {
  auto: {
    about: 'any file with a header; common names of columns and units of time are recognised',
    unit: 'auto',
    columns: {
      venue: ['venue', 'exchange', 'market'],
      symbol: ['symbol', 'pair', 'instrument', 'product_id', 'ticker'],
      trade_id: ['trade_id', 'tradeid', 'tid', 'id'],
      venue_sequence: ['venue_sequence', 'sequence', 'seq'],
      price: ['price', 'px', 'rate'],
      size: ['size', 'amount', 'volume', 'quantity', 'qty'],
      side: ['side', 'taker_side', 'type'],
      executed_at: ['executed_at', 'timestamp', 'time', 'ts', 'date', 'datetime'],
      conditions: ['conditions', 'condition'],
    },
  },
  millrace: {
    about: 'the columns of the table trades, as `COPY trades TO … WITH (FORMAT csv, HEADER)` writes them',
    unit: 'auto',
    columns: Object.fromEntries(fields.map((field) => [field, [field]])),
  },
  bitstamp: {
    about: 'timestamp (seconds), price, amount, and optionally id and type (0 buy, 1 sell)',
    unit: 's',
    venue: 'bitstamp',
    columns: {
      executed_at: ['timestamp', 'date'],
      price: ['price'],
      size: ['amount'],
      trade_id: ['id', 'tid'],
      side: ['type'],
    },
  },
  binance: {
    about: 'id, price, qty, quote_qty, time, is_buyer_maker; a file without a header may be used',
    unit: 'auto',
    venue: 'binance',
    header: ['id', 'price', 'qty', 'quote_qty', 'time', 'is_buyer_maker', 'is_best_match'],
    columns: { trade_id: ['id'], price: ['price'], size: ['qty'], executed_at: ['time'], side: ['is_buyer_maker'] },
  },
  kraken: {
    about: 'time in seconds, price, volume, without a header line',
    unit: 's',
    venue: 'kraken',
    header: ['timestamp', 'price', 'volume'],
    columns: { executed_at: ['timestamp', 'time'], price: ['price'], size: ['volume'] },
  },
} as const satisfies Record<string, Format>;

export type FormatName = keyof typeof formats;

export function isFormat(name: string): name is FormatName {
  return Object.hasOwn(formats, name);
}

export interface Layout {
  /** Index of each field's column. */
  readonly at: Readonly<Partial<Record<Field, number>>>;
  /** The first line is the header, not a trade. */
  readonly headed: boolean;
  readonly width: number;
  readonly unit: TimeUnit;
  /** `is_buyer_maker`: true means that the seller took. */
  readonly makerFlag: boolean;
}

/**
 * @param first cells of the file's first line.
 * @param given fields that the caller gives for the whole file.
 * @throws MillraceError LOAD_REFUSED: a needed column is missing, is there twice, or is also given by the caller.
 */
export function layoutOf(format: Format, first: readonly string[], given: ReadonlySet<Field>): Layout {
  const names = first.map((name) => name.trim().toLowerCase());
  const headed =
    format.header === undefined || names.some((name) => /^[a-z_ ]+$/.test(name) && name !== 'true' && name !== 'false');
  const header = headed ? names : (format.header ?? []);
  const at: Partial<Record<Field, number>> = {};
  for (const field of fields) {
    const wanted = (format.columns[field] ?? []).find((name) => header.includes(name));
    if (wanted === undefined) continue;
    if (header.indexOf(wanted) !== header.lastIndexOf(wanted))
      throw refused(`the column ${wanted} is there twice`, header);
    if (given.has(field)) {
      throw refused(`the file has a column ${wanted}, and --${field} is given too: one of them must be wrong`, header);
    }
    at[field] = header.indexOf(wanted);
  }
  for (const field of ['price', 'size', 'executed_at'] as const) {
    if (at[field] === undefined) {
      const names = (format.columns[field] ?? []).join(', ');
      throw refused(`no column for ${field} (looked for: ${names})`, header);
    }
  }
  for (const field of ['venue', 'symbol'] as const) {
    if (at[field] === undefined && !given.has(field))
      throw refused(`no column for ${field}, and no --${field}`, header);
  }
  const makerFlag = at.side !== undefined && header[at.side] === 'is_buyer_maker';
  return { at, headed, width: headed ? header.length : first.length, unit: format.unit, makerFlag };
}

function refused(reason: string, header: readonly string[]): MillraceError {
  return new MillraceError(
    'LOAD_REFUSED',
    `the file cannot be loaded: ${reason}; its columns are ${header.join(', ')}`,
    {
      remedy: 'Give --format, --venue or --symbol; `millrace load trades --help` lists the formats.',
    },
  );
}
