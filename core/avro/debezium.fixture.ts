/**
 * What Debezium 3.7 registers for public.trades, as taken from a registry: for tests and benchmarks. The capture prefix and the
 * table are in the record names.
 */
const decimal = {
  type: 'bytes',
  scale: 8,
  precision: 20,
  'connect.version': 1,
  'connect.parameters': { scale: '8', 'connect.decimal.precision': '20' },
  'connect.name': 'org.apache.kafka.connect.data.Decimal',
  logicalType: 'decimal',
};

const optional = (name: string, type: string): object => ({ name, type: ['null', type], default: null });

const tradeFields: readonly object[] = [
  { name: 'venue', type: 'string' },
  { name: 'symbol', type: 'string' },
  { name: 'trade_id', type: 'string' },
  optional('venue_sequence', 'long'),
  { name: 'price', type: decimal },
  { name: 'size', type: decimal },
  { name: 'side', type: { type: 'string', 'connect.default': 'unknown' }, default: 'unknown' },
  {
    name: 'executed_at',
    type: { type: 'string', 'connect.version': 1, 'connect.name': 'io.debezium.time.ZonedTimestamp' },
  },
  optional('conditions', 'string'),
];

const source = {
  type: 'record',
  name: 'Source',
  namespace: 'io.debezium.connector.postgresql',
  fields: [
    { name: 'version', type: 'string' },
    { name: 'connector', type: 'string' },
    { name: 'name', type: 'string' },
    { name: 'ts_ms', type: 'long' },
    {
      name: 'snapshot',
      type: [
        {
          type: 'string',
          'connect.version': 1,
          'connect.parameters': {
            allowed: 'true,first,first_in_data_collection,last_in_data_collection,last,false,incremental',
          },
          'connect.default': 'false',
          'connect.name': 'io.debezium.data.Enum',
        },
        'null',
      ],
      default: 'false',
    },
    { name: 'db', type: 'string' },
    optional('sequence', 'string'),
    optional('ts_us', 'long'),
    optional('ts_ns', 'long'),
    { name: 'schema', type: 'string' },
    { name: 'table', type: 'string' },
    optional('txId', 'long'),
    optional('lsn', 'long'),
    optional('xmin', 'long'),
    optional('origin', 'string'),
    optional('origin_lsn', 'long'),
  ],
  'connect.version': 1,
  'connect.name': 'io.debezium.connector.postgresql.Source',
};

const transaction = {
  type: 'record',
  name: 'block',
  namespace: 'event',
  fields: [
    { name: 'id', type: 'string' },
    { name: 'total_order', type: 'long' },
    { name: 'data_collection_order', type: 'long' },
  ],
  'connect.version': 1,
  'connect.name': 'event.block',
};

/** The value schema of a table, by default trades'. */
export function envelopeSchema(topic = 'cdc.public.trades', fields = tradeFields): object {
  return {
    type: 'record',
    name: 'Envelope',
    namespace: topic,
    fields: [
      {
        name: 'before',
        type: ['null', { type: 'record', name: 'Value', fields, 'connect.name': `${topic}.Value` }],
        default: null,
      },
      { name: 'after', type: ['null', 'Value'], default: null },
      { name: 'source', type: source },
      { name: 'transaction', type: ['null', transaction], default: null },
      { name: 'op', type: 'string' },
      optional('ts_ms', 'long'),
      optional('ts_us', 'long'),
      optional('ts_ns', 'long'),
    ],
    'connect.version': 2,
    'connect.name': `${topic}.Envelope`,
  };
}

export { tradeFields };

/** An insert as the full schema has it; `overrides` replace top-level fields. */
export function envelope(overrides: object = {}): object {
  return {
    before: null,
    after: tradeRow(),
    source: {
      version: '3.7.0.Final',
      connector: 'postgresql',
      name: 'cdc',
      ts_ms: 1_795_253_012_345n,
      snapshot: 'false',
      db: 'millrace',
      sequence: '["26715128","26715344"]',
      ts_us: 1_795_253_012_345_678n,
      ts_ns: 1_795_253_012_345_678_000n,
      schema: 'public',
      table: 'trades',
      txId: 791n,
      lsn: 26_715_344n,
      xmin: null,
      origin: null,
      origin_lsn: null,
    },
    transaction: null,
    op: 'c',
    ts_ms: 1_795_253_012_400n,
    ts_us: 1_795_253_012_400_123n,
    ts_ns: 1_795_253_012_400_123_456n,
    ...overrides,
  };
}

export function tradeRow(overrides: object = {}): object {
  return {
    venue: 'bitstamp',
    symbol: 'BTC/USD',
    trade_id: '2041283',
    venue_sequence: 2_041_283n,
    price: 80_517_000_000n,
    size: 153_846_154n,
    side: 'unknown',
    executed_at: '2013-11-25T00:00:01.123456Z',
    conditions: null,
    ...overrides,
  };
}
