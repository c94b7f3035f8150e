/** The meaning of a trades file's columns, by format. */

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

/** Unit of numeric timestamps. `auto` derives it from the number of digits: correct for 1973 to 2286. */
export type TimeUnit = 'auto' | 's' | 'ms' | 'us' | 'ns';

export interface Format {
  readonly about: string;
  /** Column names by field, as `plainName` writes them; the first name in the file is used. */
  readonly columns: Readonly<Partial<Record<Field, readonly string[]>>>;
  /** Unit of numeric timestamps. */
  readonly unit: TimeUnit;
  /** Column names for a file without a header line. */
  readonly header?: readonly string[];
  /** Patterns for the cells of a line without header, in order; further cells may follow. */
  readonly shape?: readonly RegExp[];
  /** Venue of all rows, for a format without a venue column. */
  readonly venue?: string;
  /** A header with all these columns identifies the format. */
  readonly signature?: readonly string[];
  /** The signature is not enough: `--venue` must also begin with the format's venue. */
  readonly ofVenue?: boolean;
  /** Party whose side the side column has. Default `taker`. */
  readonly side?: 'maker' | 'taker';
  /** The sign of the size is the side: a negative size is a sale by the taker. Default false. */
  readonly signed?: boolean;
}

const whole = /^\d+$/;
const decimal = /^\d+(\.\d+)?([eE][+-]?\d+)?$/;
const epoch = /^\d{10,19}$/;
const flag = /^(true|false)$/i;

/** The archives of BitMEX and of Bybit have the same columns and different time units. */
const tradeArchive = {
  signature: ['timestamp', 'symbol', 'side', 'size', 'price', 'trdmatchid'],
  ofVenue: true,
  columns: {
    trade_id: ['trdmatchid'],
    symbol: ['symbol'],
    executed_at: ['timestamp'],
    price: ['price'],
    size: ['size'],
    side: ['side'],
  },
} as const;

export const formats = {
  auto: {
    about: 'one of the others if the header tells it; else common names of columns and units of time',
    unit: 'auto',
    columns: {
      venue: ['venue', 'exchange', 'market'],
      symbol: ['symbol', 'pair', 'instrument', 'productid', 'ticker'],
      trade_id: ['tradeid', 'tid', 'id', 'trdmatchid', 'matchid', 'execid', 'aggtradeid'],
      venue_sequence: ['venuesequence', 'sequence', 'seq'],
      price: ['price', 'px', 'rate'],
      size: ['size', 'amount', 'volume', 'quantity', 'qty'],
      side: ['takerside', 'aggressorside', 'side', 'makerside', 'isbuyermaker', 'takersidesell', 'sell', 'type'],
      executed_at: ['executedat', 'timestamp', 'time', 'transacttime', 'ts', 'date', 'datetime'],
      conditions: ['conditions', 'condition'],
    },
  },
  millrace: {
    about: 'the columns of the table trades, as `COPY trades TO … WITH (FORMAT csv, HEADER)` writes them',
    unit: 'auto',
    columns: Object.fromEntries(fields.map((field) => [field, [plainName(field)]])),
  },
  binance: {
    about: 'trades: id, price, qty, quote_qty, time, is_buyer_maker; with or without a header',
    unit: 'auto',
    venue: 'binance',
    header: ['id', 'price', 'qty', 'quote_qty', 'time', 'is_buyer_maker', 'is_best_match'],
    signature: ['id', 'qty', 'time', 'isbuyermaker'],
    shape: [whole, decimal, decimal, decimal, epoch, flag],
    columns: { trade_id: ['id'], price: ['price'], size: ['qty'], executed_at: ['time'], side: ['isbuyermaker'] },
  },
  'binance-agg': {
    about:
      'aggTrades: agg_trade_id, price, quantity, first and last trade id, transact_time, is_buyer_maker; with or without a header',
    unit: 'auto',
    venue: 'binance',
    header: [
      'agg_trade_id',
      'price',
      'quantity',
      'first_trade_id',
      'last_trade_id',
      'transact_time',
      'is_buyer_maker',
      'is_best_match',
    ],
    signature: ['aggtradeid', 'quantity', 'transacttime', 'isbuyermaker'],
    shape: [whole, decimal, decimal, whole, whole, epoch, flag],
    columns: {
      trade_id: ['aggtradeid'],
      price: ['price'],
      size: ['quantity'],
      executed_at: ['transacttime'],
      side: ['isbuyermaker'],
    },
  },
  bitfinex: {
    about: 'id, timestamp, amount, price; a negative amount is a sale by the taker',
    unit: 'auto',
    venue: 'bitfinex',
    signature: ['timestamp', 'amount', 'price'],
    ofVenue: true,
    signed: true,
    columns: {
      trade_id: ['id', 'tradeid'],
      symbol: ['symbol', 'pair'],
      executed_at: ['timestamp', 'mts'],
      price: ['price'],
      size: ['amount'],
    },
  },
  bitmex: {
    about: 'timestamp, symbol, side, size, price, trdMatchID: the archive of BitMEX',
    unit: 'auto',
    venue: 'bitmex',
    ...tradeArchive,
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
  bybit: {
    about: 'timestamp (seconds), symbol, side, size, price, trdMatchID: the archive of Bybit',
    unit: 's',
    venue: 'bybit',
    ...tradeArchive,
  },
  coinbase: {
    about: "trade_id, side, size, price, time; side is the maker's and is turned round",
    unit: 'auto',
    venue: 'coinbase',
    signature: ['tradeid', 'side', 'size', 'price', 'time'],
    ofVenue: true,
    side: 'maker',
    columns: {
      trade_id: ['tradeid'],
      symbol: ['productid'],
      executed_at: ['time'],
      price: ['price'],
      size: ['size'],
      side: ['side'],
    },
  },
  kaiko: {
    about: 'id, exchange, symbol, date, price, amount, sell (true: the taker sold)',
    unit: 'auto',
    signature: ['exchange', 'symbol', 'date', 'price', 'amount', 'sell'],
    columns: {
      venue: ['exchange'],
      symbol: ['symbol'],
      trade_id: ['id'],
      executed_at: ['date'],
      price: ['price'],
      size: ['amount'],
      side: ['sell'],
    },
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

/** A column name without case, spaces and punctuation: `Trade ID`, `tradeId` and `trade_id` are equal. */
export function plainName(name: string): string {
  return name.toLowerCase().replace(/[\s_.-]/g, '');
}

/** Format detected from the first line, or `auto`. @param venue venue of all rows, if given */
export function detectFormat(first: readonly string[], venue: string | undefined): FormatName {
  const names = new Set(first.map((cell) => plainName(cell.trim())));
  const found = (Object.entries(formats) as [FormatName, Format][]).find(([, format]) => {
    if (fitsShape(format, first)) return true;
    if (format.signature === undefined || !format.signature.every((name) => names.has(name))) return false;
    if (format.signed === true && (formats.auto.columns.side as readonly string[]).some((name) => names.has(name)))
      return false;
    return format.ofVenue !== true || venue?.toLowerCase().startsWith(format.venue ?? '') === true;
  });
  return found?.[0] ?? 'auto';
}

/** Whether the line fits this format without a header. */
export function fitsShape(format: Format, cells: readonly string[]): boolean {
  return format.shape?.every((cell, at) => cell.test(cells[at]?.trim() ?? '')) ?? false;
}
