-- Up Migration

-- State of the capture that must survive a restart of the supervisor and be readable by other processes: identities of the captured tables, the
-- slot guard's stop, restarts of the connector, gaps, parked tables. One row per connector and kind; connectors/source/record.ts has the shapes.
-- The table is not captured.
CREATE TABLE capture_record (
  connector text NOT NULL,
  kind      text NOT NULL,
  value     jsonb NOT NULL,
  PRIMARY KEY (connector, kind)
);

-- From version 18 on Postgres refuses UPDATE and DELETE of a table with REPLICA IDENTITY FULL and a generated column that is not published.
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 180000 AND EXISTS (SELECT FROM pg_publication WHERE pubname = 'millrace') THEN
    EXECUTE 'ALTER PUBLICATION millrace SET (publish_generated_columns = stored)';
  END IF;
END
$$;

-- Down Migration

DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 180000 AND EXISTS (SELECT FROM pg_publication WHERE pubname = 'millrace') THEN
    EXECUTE 'ALTER PUBLICATION millrace SET (publish_generated_columns = none)';
  END IF;
END
$$;
DROP TABLE capture_record;
