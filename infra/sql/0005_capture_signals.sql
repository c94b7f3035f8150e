-- Up Migration

-- What is said to the running connector (`millrace backfill`), and its own marks between which it reads a portion of a table. Debezium takes it
-- by position: id, type, data. It must be captured, so that a signal has its place among the changes; its rows get no topic.
CREATE TABLE capture_signals (
  id text PRIMARY KEY,
  type text NOT NULL,
  data text
);
ALTER TABLE capture_signals REPLICA IDENTITY FULL;
GRANT SELECT, INSERT, DELETE ON capture_signals TO millrace_capture;
ALTER PUBLICATION millrace ADD TABLE capture_signals;

-- Down Migration

ALTER PUBLICATION millrace DROP TABLE capture_signals;
DROP TABLE capture_signals;
