-- Up Migration

-- The captured tables. What Debezium cannot carry exactly is refused here, at the source: NaN has no Avro decimal, an infinite
-- or far-out timestamp no microsecond count, and a text without a value no place among the partitions. A size of zero is allowed: venues do
-- report such trades.

CREATE TABLE instruments (
  venue      text NOT NULL CHECK (venue <> ''),
  symbol     text NOT NULL CHECK (symbol <> ''),
  base       text NOT NULL,
  quote      text NOT NULL,
  tick_size  numeric(20, 8) NOT NULL DEFAULT 0.00000001 CHECK (tick_size > 0 AND tick_size <> 'NaN'),
  lot_size   numeric(20, 8) NOT NULL DEFAULT 0.00000001 CHECK (lot_size > 0 AND lot_size <> 'NaN'),
  active     boolean NOT NULL DEFAULT true,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (venue, symbol)
);

CREATE TABLE trades (
  venue          text NOT NULL CHECK (venue <> ''),
  symbol         text NOT NULL CHECK (symbol <> ''),
  trade_id       text NOT NULL CHECK (trade_id <> ''),
  venue_sequence bigint,
  price          numeric(20, 8) NOT NULL CHECK (price <> 'NaN'),
  size           numeric(20, 8) NOT NULL CHECK (size >= 0 AND size <> 'NaN'),
  side           text NOT NULL DEFAULT 'unknown' CHECK (side IN ('buy', 'sell', 'unknown')),
  executed_at    timestamptz NOT NULL CHECK (executed_at >= '1900-01-01Z' AND executed_at < '9999-01-01Z'),
  conditions     text,
  PRIMARY KEY (venue, symbol, trade_id)
);

COMMENT ON COLUMN trades.venue_sequence IS 'order among trades of one executed_at, as the venue numbers them';
COMMENT ON COLUMN trades.executed_at IS 'event time; microseconds';

-- No second index: it would cost a load two thirds more WAL, and whoever asks by time asks the archive.

-- Every change carries the whole row before it: a correction must know what it takes back, and an unchanged TOAST value must
-- not arrive as a placeholder.
ALTER TABLE instruments REPLICA IDENTITY FULL;
ALTER TABLE trades REPLICA IDENTITY FULL;

-- One row that the connector itself updates every second: the clock of a quiet market, and what lets WAL go when only other,
-- uncaptured tables are busy.
CREATE TABLE heartbeat (
  id   int PRIMARY KEY CHECK (id = 1),
  beat bigint NOT NULL,
  at   timestamptz NOT NULL
);
INSERT INTO heartbeat (id, beat, at) VALUES (1, 0, now());

-- TRUNCATE has no key and no place in the order of partitions, so candles and archive could not follow it.
CREATE FUNCTION millrace_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'TRUNCATE of % is refused: the table is captured, and a TRUNCATE cannot be ordered among its changes', TG_TABLE_NAME
    USING HINT = 'DELETE the rows, or drop the publication first and capture again from a new snapshot.';
END
$$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON trades FOR EACH STATEMENT EXECUTE FUNCTION millrace_refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON instruments FOR EACH STATEMENT EXECUTE FUNCTION millrace_refuse_truncate();

-- Down Migration

DROP TABLE heartbeat;
DROP TABLE trades;
DROP TABLE instruments;
DROP FUNCTION millrace_refuse_truncate();
