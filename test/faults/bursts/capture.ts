/** Faults of the capture, and what Postgres may do to it. */
import { Client } from 'pg';
import type { Burst } from '../burst.ts';
import { inject as produce } from '../harness/poison.ts';

export const connectKill: Burst = {
  fault: 13,
  title: 'Kafka Connect’s worker killed (SIGKILL)',
  injections: 20,
  async inject({ stack }) {
    await stack.kill('connect', 'SIGKILL');
    await stack.restart('connect');
  },
};

export const deletes: Burst = {
  fault: 22,
  title: 'TRUNCATE, DELETE of 50 trades, a deleted trade created anew, tombstones',
  injections: 20,
  async inject(stage) {
    const { db, random } = stage;
    const refused = await db.query('TRUNCATE trades').then(
      () => false,
      (error: Error) => error.message.includes('refused'),
    );
    if (!refused) throw new Error('TRUNCATE of a captured table went through');
    const { rows } = await db.query<Record<string, unknown>>(
      `DELETE FROM trades WHERE (venue, symbol, trade_id) IN
         (SELECT venue, symbol, trade_id FROM trades ORDER BY md5(trade_id || $1) LIMIT 50) RETURNING *`,
      [random()],
    );
    const again = rows[0];
    if (again !== undefined) {
      const names = Object.keys(again);
      await db.query(
        `INSERT INTO trades (${names.join(', ')}) VALUES (${names.map((_, i) => `$${i + 1}`).join(', ')})`,
        Object.values(again),
      );
    }
    await produce(stage, [{ key: Buffer.from('a key'), value: null }]);
  },
};

const million = 1_000_000;

export const bigTransactions: Burst = {
  fault: 24,
  title: 'a transaction of 1,000,000 rows, then of 20,000 each held open for 5 s beside others',
  injections: 20,
  rate: 100,
  async inject({ config, note }, index) {
    const db = new Client({ connectionString: config.postgres.url, application_name: 'bulk' });
    await db.connect();
    try {
      const rows = index === 0 ? million : 20_000;
      await db.query('BEGIN');
      await db.query(
        `INSERT INTO trades (venue, symbol, trade_id, venue_sequence, price, size, executed_at)
         SELECT 'bulk', 'BULK' || n % 40 || '-USD', $1 || '-' || n, n, 100 + n % 100, 1 + n % 7,
                timestamptz '2024-01-01 00:00:00Z' + make_interval(secs => $1::int * 1000 + n * 0.001)
           FROM generate_series(1, $2::int) AS n`,
        [index, rows],
      );
      if (index > 0) await db.query('SELECT pg_sleep(5)');
      await db.query('COMMIT');
      note(`${rows} rows in one transaction`);
    } finally {
      await db.end();
    }
  },
};
