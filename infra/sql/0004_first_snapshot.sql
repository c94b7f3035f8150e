-- Up Migration

-- Every table that the first snapshot reads is read through this (`snapshot.select.statement.overrides`). Debezium begins an interrupted
-- snapshot again, and nothing tells the rows that it writes then from those that it wrote before: candles would count them twice. A snapshot is
-- the first one only if it begins exactly where its replication slot does: Debezium has made the slot then, and reads in the snapshot that
-- Postgres exported with it, which takes REPEATABLE READ. For any other snapshot it leaves the isolation level as it is, or makes it SERIALIZABLE.
-- Class 28 (not authorized) is what Debezium does not try again.
CREATE FUNCTION millrace_first_snapshot() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF current_setting('default_transaction_isolation') = 'repeatable read' THEN
    RAISE EXCEPTION 'the default isolation level of % must not be REPEATABLE READ: a first snapshot could not be told from a second one', current_user
      USING ERRCODE = '28000', HINT = format('ALTER ROLE %I SET default_transaction_isolation = ''read committed'';', current_user);
  END IF;
  IF current_setting('transaction_isolation') <> 'repeatable read' THEN
    RAISE EXCEPTION 'a snapshot that does not begin with its replication slot is refused: rows that were captured would come again'
      USING ERRCODE = '28000', HINT = 'The supervisor fills what is missing by comparison; without it: millrace connectors recapture.';
  END IF;
  RETURN true;
END
$$;
GRANT EXECUTE ON FUNCTION millrace_first_snapshot() TO millrace_capture;

-- Down Migration

DROP FUNCTION millrace_first_snapshot();
