-- Up Migration

-- The role that Debezium logs in as. Its password is not here: the migration runner sets it from a secret. Roles belong to the
-- cluster, not to the database, so another database may have created it already.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_capture') THEN
    CREATE ROLE millrace_capture WITH LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT;
  END IF;
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO millrace_capture', current_database());
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO millrace_capture', current_schema());
END
$$;

-- Reading for the snapshot; the one write is the heartbeat's action query.
GRANT SELECT ON instruments, trades, heartbeat TO millrace_capture;
GRANT UPDATE (beat, at) ON heartbeat TO millrace_capture;

-- Exactly these tables. The connector may not create a publication itself: its default is all tables, which needs a superuser.
CREATE PUBLICATION millrace FOR TABLE instruments, trades, heartbeat;

-- Down Migration

DROP PUBLICATION millrace;
REVOKE ALL ON instruments, trades, heartbeat FROM millrace_capture;
