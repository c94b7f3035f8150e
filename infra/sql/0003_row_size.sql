-- Up Migration

-- A change carries its row twice, and Kafka takes a record of at most 1 MiB: a longer row would stop the whole capture, so it is refused
-- where it comes from. Rows that are there already are not looked at.
ALTER TABLE trades ADD CONSTRAINT trades_fit_into_a_record CHECK (
  octet_length(venue) + octet_length(symbol) + octet_length(trade_id) + coalesce(octet_length(conditions), 0) <= 65536) NOT VALID;
ALTER TABLE instruments ADD CONSTRAINT instruments_fit_into_a_record CHECK (
  octet_length(venue) + octet_length(symbol) + octet_length(base) + octet_length(quote) <= 65536) NOT VALID;

-- Down Migration

ALTER TABLE trades DROP CONSTRAINT trades_fit_into_a_record;
ALTER TABLE instruments DROP CONSTRAINT instruments_fit_into_a_record;
