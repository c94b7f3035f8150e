/** What becomes of the table under the capture: its columns, and values that an update does not touch. */
import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import { readSlot } from '../../../connectors/supervision/slot.ts';
import type { Config } from '../../../core/base/config.ts';
import { unavailableValue } from '../../../core/capture/captured-row.ts';
import { readTopic, tradesTopic } from '../../../proof/reading/topic.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { valueSubject } from '../../../schemas/topics.ts';
import { eventually } from '../../support/patience.ts';
import type { Burst } from '../burst.ts';

/** In turn; after the last one the table is as it was. */
const alterations = [
  `ADD COLUMN burst_note text DEFAULT 'none', ADD COLUMN burst_lot integer NOT NULL DEFAULT 7`,
  'RENAME COLUMN burst_note TO burst_remark',
  'ALTER COLUMN burst_lot TYPE bigint',
  'DROP COLUMN burst_remark',
  'DROP COLUMN burst_lot',
] as const;

let versions = 0;
const recoveryMs = 180_000;

export const columns: Burst = {
  fault: 21,
  title: 'column added, renamed, widened, dropped, in turn, while rows are written',
  injections: 20,
  async prepare({ schemas }) {
    versions = (await schemas.latest(valueSubject(tradesTopic)))?.version ?? 0;
  },
  async inject({ db, config, note, random }, index) {
    const alteration = alterations[index % alterations.length] ?? alterations[0];
    await passed(db, config);
    await db.query(`ALTER TABLE trades ${alteration}`);
    await db.query(
      `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at)
       SELECT 'columns', 'COLUMN' || n % 12, $1 || '-' || n, 100, 1, timestamptz '2024-01-01 00:00:00Z' + make_interval(secs => $2::int * 60)
         FROM generate_series(1, 50) AS n`,
      [`${index}-${random()}`, index],
    );
    note(alteration);
  },
  async finish({ db, config }) {
    await passed(db, config);
    await db.query(
      `ALTER TABLE trades DROP COLUMN IF EXISTS burst_note, DROP COLUMN IF EXISTS burst_remark, DROP COLUMN IF EXISTS burst_lot`,
    );
  },
  async check({ schemas }) {
    const now = (await schemas.latest(valueSubject(tradesTopic)))?.version ?? 0;
    return now > versions ? [] : ['I1 the registry has no newer schema of trades than before'];
  },
};

/** Until the capture has come to the change before: a column that is gone by then counts as nullable, and is refused when it comes again. */
async function passed(db: Client, { capture: { slot } }: Config): Promise<void> {
  const end = (await readSlot(db, slot))?.walLsn ?? 0n;
  await eventually(async () => ((await readSlot(db, slot))?.confirmedLsn ?? 0n) >= end, recoveryMs);
}

/** Beyond 2 kB Postgres keeps a text apart, unless it can be compressed to less. */
const apartBytes = 8_000;
const placeholders: string[] = [];

export const untouched: Burst = {
  fault: 23,
  title: '50 trades with texts that Postgres keeps apart (16 kB), each updated twice without touching them',
  injections: 20,
  async inject({ db, random }, index) {
    const id = `${index}-${random()}`;
    await db.query(
      `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at, conditions)
       SELECT 'apart', 'APART' || n % 12, $1 || '-' || n, 100, 1, timestamptz '2024-01-01 00:00:00Z' + make_interval(secs => $2::int * 60), n || $3
         FROM generate_series(1, 50) AS n`,
      [id, index, randomBytes(apartBytes).toString('hex')],
    );
    for (let i = 0; i < 2; i++) {
      await db.query(`UPDATE trades SET price = price + 1 WHERE venue = 'apart' AND trade_id LIKE $1 || '-%'`, [id]);
    }
  },
  async check({ log, schemas }) {
    placeholders.length = 0;
    for await (const portion of readTopic<TradeChange>(log, schemas, tradesTopic, contracts.trade_change)) {
      for (const { partition, record, value } of portion) {
        if ([value.before, value.after].some((row) => row?.conditions === unavailableValue))
          placeholders.push(`I3 ${partition}/${record.offset} has a placeholder for a value`);
      }
    }
    return placeholders;
  },
};
