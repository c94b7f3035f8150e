import type { Client } from 'pg';

const identity = 'lsn, op, venue, symbol, trade_id';
const key = 'venue, symbol, trade_id';
const values = 'venue_sequence, price, size, executed_at';

/**
 * The witness' changes as a log can have them whose replication slot was lost and recaptured: what was committed within a gap is replaced by
 * what it came to, a change of each key at the LSN of the recaptured records. Everything outside stays as it was, so a change that is missing
 * elsewhere is still missing.
 *
 * A gap is what was committed after all that stands before the recaptured records in their partitions, before all that stands after them, and is
 * not in the log. Needs the table `captured` of `loadLedger`.
 *
 * @param places LSNs of the recaptured records, in their order.
 * @returns the temporary table to use in place of the witness' own.
 */
export async function acrossGaps(db: Client, witness: string, places: readonly bigint[]): Promise<string> {
  const table = 'witnessed_across_gaps';
  await db.query(`DROP TABLE IF EXISTS ${table}; CREATE TEMP TABLE ${table} AS SELECT * FROM ${witness}`);
  for (const lsn of places) {
    await db.query(`DROP TABLE IF EXISTS gap`);
    await db.query(`
      CREATE TEMP TABLE gap AS
      WITH marks AS (SELECT partition, min(position) AS first, max(position) AS last FROM captured WHERE lsn = ${lsn} GROUP BY partition),
      bounds AS (
        SELECT coalesce(max(seq) FILTER (WHERE position < first), 0) AS after, min(seq) FILTER (WHERE position > last) AS before
          FROM ${table} JOIN captured USING (${identity}) JOIN marks USING (partition))
      SELECT w.* FROM ${table} w, bounds
       WHERE EXISTS (SELECT FROM marks) AND seq > after AND (before IS NULL OR seq < before)
         AND NOT EXISTS (SELECT FROM captured c WHERE (c.lsn, c.op, c.venue, c.symbol, c.trade_id) = (w.lsn, w.op, w.venue, w.symbol, w.trade_id))`);
    await db.query(`
      WITH was AS (
        SELECT DISTINCT ON (${key}) * FROM ${table} w
         WHERE seq < (SELECT max(seq) FROM gap) AND NOT EXISTS (SELECT FROM gap g WHERE g.seq = w.seq)
         ORDER BY ${key}, seq DESC),
      becomes AS (SELECT DISTINCT ON (${key}) * FROM gap ORDER BY ${key}, seq DESC),
      gone AS (DELETE FROM ${table} w USING gap g WHERE g.seq = w.seq)
      INSERT INTO ${table} (seq, lsn, op, ${key}, ${values})
      SELECT (SELECT max(seq) FROM gap), ${lsn}, net.op, b.venue, b.symbol, b.trade_id,
             CASE WHEN net.op <> 'd' THEN b.venue_sequence END, CASE WHEN net.op <> 'd' THEN b.price END,
             CASE WHEN net.op <> 'd' THEN b.size END, CASE WHEN net.op <> 'd' THEN b.executed_at END
        FROM becomes b LEFT JOIN was w ON (w.venue, w.symbol, w.trade_id) = (b.venue, b.symbol, b.trade_id) AND w.op <> 'd'
       CROSS JOIN LATERAL (SELECT CASE WHEN b.op = 'd' THEN CASE WHEN w.seq IS NOT NULL THEN 'd' END
                                       WHEN w.seq IS NULL THEN 'r'
                                       WHEN (w.venue_sequence, w.price, w.size, w.executed_at) IS DISTINCT FROM (b.venue_sequence, b.price, b.size, b.executed_at)
                                       THEN 'u' END AS op) AS net
       WHERE net.op IS NOT NULL`);
  }
  return table;
}
