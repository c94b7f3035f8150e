/** A crash in the middle of the connector's first snapshot, and of a backfill. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Followed, followBackfill } from '../../../connectors/backfill/follow.ts';
import { planBackfill } from '../../../connectors/backfill/plan.ts';
import { Reads } from '../../../connectors/backfill/reads.ts';
import { begin as beginBackfill } from '../../../connectors/backfill/signals.ts';
import { dropSlot } from '../../../connectors/recapture/slot.ts';
import { readSlot } from '../../../connectors/supervision/slot.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { endsOf } from '../../../core/log/log.ts';
import { tradesTopic } from '../../../proof/reading/topic.ts';
import { eventually } from '../../support/patience.ts';
import { loadLedger } from '../../witness/ledger.ts';
import type { Burst, Stage } from '../burst.ts';
import { type Capture, captureOf, isRunning } from './connector.ts';

const rows = 60_000;
/** The fill of a snapshot included. */
const recoveryMs = 600_000;
/** Rows that are changed, and as many that are deleted, while the snapshot is interrupted. */
const touched = 200;
const override = 'snapshot.select.statement.overrides.public.trades';
const found: string[] = [];
let interrupted = 0;

export const snapshotKilled: Burst = {
  fault: 18,
  title: `Kafka Connect killed (SIGKILL) in the first snapshot of ${rows} rows, then in their backfill, in turn, while they are changed; every other snapshot the supervisor too, while it fills`,
  injections: 20,
  witnessed: false,
  async prepare() {
    found.length = 0;
    interrupted = 0;
  },
  async inject(stage, index) {
    const capture = await captureOf(stage);
    const round = Math.floor(index / 2);
    const venue = `first-${round}`;
    if (index % 2 === 0) await interruptSnapshot(stage, capture, venue, round % 2 === 1);
    else await interruptBackfill(stage, capture, venue);
  },
  async check(stage) {
    if (interrupted === 0) found.push('no snapshot was interrupted: each was finished when Kafka Connect was killed');
    return [...found, ...(await lives(stage))];
  },
};

async function interruptSnapshot(stage: Stage, capture: Capture, venue: string, both: boolean): Promise<void> {
  const { db, config, note, stack } = stage;
  const { client, definition } = capture;
  const before = await begin(stage, capture, venue);
  const some = BigInt(Math.floor(2_000 + stage.random() * rows * 0.6));
  await eventually(async () => (await captured(stage)) > before + some, recoveryMs);
  await stack.kill('connect', 'SIGKILL');
  const written = Number((await captured(stage)) - before);
  await touch(stage, venue);
  const position = async () => client.position(definition.name).catch(() => undefined);
  await stack.restart('connect');
  await eventually(async () => (await position()) !== undefined, recoveryMs);
  if ((await position())?.unfinished === true) interrupted++;
  const started = performance.now();
  if (both) await killWhileFilling(stage);
  await eventually(async () => (await position())?.unfinished === false && (await isRunning(capture)), recoveryMs);
  note(`killed when ${written} of ${rows} rows were written; filled ${since(started)} s after Kafka Connect was back`);
  if ((await readSlot(db, config.capture.slot)) === undefined) found.push('I1 capture goes on without a slot');
}

async function interruptBackfill(stage: Stage, capture: Capture, venue: string): Promise<void> {
  const { db, log, schemas, config, note, stack } = stage;
  const { client, definition } = capture;
  const { prefix } = config.capture;
  const plan = await planBackfill(db, { table: 'trades', where: `venue = '${venue}'` });
  const from = await log.ends(tradesTopic);
  const [notified = 0n] = await endsOf(log, `${prefix}.notifications`);
  const backfill = await beginBackfill(db, plan, { from, notified });
  const some = Math.floor(1 + stage.random() * plan.rows * 0.6);
  const reads = new Reads(log, schemas, tradesTopic, from);
  await eventually(async () => (await reads.count()) > some, recoveryMs);
  await stack.kill('connect', 'SIGKILL');
  const written = await reads.count();
  await touch(stage, venue);
  await stack.restart('connect');
  const started = performance.now();
  const sources = { db, log, schemas, client, connector: definition.name, prefix, backfill };
  const followed: Followed = await followBackfill({ ...sources, waitMs: recoveryMs, downMs: recoveryMs });
  const { result, captured: brought } = followed;
  note(
    `killed when ${written} of ${plan.rows} rows were read again; ${result} ${since(started)} s after Kafka Connect was back, ${brought} rows`,
  );
  const least = plan.rows - 2 * touched;
  if (result !== 'completed' || brought < least)
    found.push(`a backfill of ${plan.rows} rows was ${result} with ${brought}`);
}

/** Some rows change, and as many others go. */
async function touch({ db }: Stage, venue: string): Promise<void> {
  const every = rows / touched;
  await db.query(
    `UPDATE trades SET price = price + 1, size = size + 1 WHERE venue = $1 AND venue_sequence % ${every} = 0`,
    [venue],
  );
  await db.query(
    `DELETE FROM trades WHERE ctid IN (SELECT ctid FROM trades WHERE venue = $1 AND venue_sequence % ${every} <> 0 ORDER BY md5(trade_id) LIMIT ${touched})`,
    [venue],
  );
}

function since(started: number): string {
  return ((performance.now() - started) / 1000).toFixed(0);
}

/** As if nothing had ever been captured of one venue: its rows are there, no slot and no position. @returns offsets written until then */
async function begin(stage: Stage, { client, definition }: Capture, venue: string): Promise<bigint> {
  const { db, config, market } = stage;
  const { slot } = config.capture;
  market.pause();
  try {
    await eventually(async () => {
      const { rows: open } = await db.query(
        `SELECT FROM pg_stat_activity WHERE application_name = 'market' AND state <> 'idle'`,
      );
      return open.length === 0;
    }, recoveryMs);
    // A session looks for the pause before it begins, and may have just looked.
    await delay(500);
    const end = (await readSlot(db, slot))?.walLsn ?? 0n;
    await eventually(async () => ((await readSlot(db, slot))?.confirmedLsn ?? 0n) >= end, recoveryMs);
    await eventually(async () => {
      await client.stop(definition.name);
      await client.deleteOffsets(definition.name);
      return true;
    }, recoveryMs);
    await dropSlot(db, slot);
    await db.query(
      `INSERT INTO trades (venue, symbol, trade_id, venue_sequence, price, size, executed_at)
       SELECT $1, 'SYM' || n % 24 || '-USD', n::text, n, 100 + n % 100, 1 + n % 7, timestamptz '2024-01-01 00:00:00Z' + make_interval(secs => n * 0.05)
         FROM generate_series(1, $2::int) AS n`,
      [venue, rows],
    );
    const before = await captured(stage);
    // The other venues were captured before, and it is their rows that would be counted twice.
    const select = `${definition.config[override]} AND venue = '${venue}'`;
    await client.put(definition.name, { ...definition.config, [override]: select });
    await client.resume(definition.name);
    await eventually(async () => (await readSlot(db, slot)) !== undefined, recoveryMs);
    return before;
  } finally {
    market.resume();
  }
}

async function captured({ log }: Stage): Promise<bigint> {
  return (await log.ends(tradesTopic)).reduce((sum, end) => sum + end, 0n);
}

/** Whoever fills is connected to Postgres under a name of its own. */
async function killWhileFilling(stage: Stage): Promise<void> {
  const filling = async () => {
    const { rows: sessions } = await stage.db.query(
      `SELECT FROM pg_stat_activity WHERE application_name = 'millrace recapture'`,
    );
    return sessions.length > 0;
  };
  await eventually(filling, recoveryMs);
  await stage.pause(0, 3_000);
  if (!(await filling())) return;
  const supervisor = stage.member('supervisor');
  await supervisor.kill();
  supervisor.start();
}

/** From the log alone: no trade is created while it is there, or changed while it is not. Further deliveries of a change are none. */
async function lives({ config, log, schemas }: Stage): Promise<readonly string[]> {
  const db = await connectPostgres({ url: config.postgres.url, name: 'faults' });
  try {
    await loadLedger(db, log, schemas);
    const { rows: wrong } = await db.query<{ what: string }>(`
      WITH delivered AS (
        SELECT venue, symbol, trade_id, op, lsn, min(position) AS first FROM captured WHERE lsn IS NOT NULL GROUP BY 1, 2, 3, 4, 5),
      ordered AS (
        SELECT *, coalesce(lag(op) OVER (PARTITION BY venue, symbol, trade_id ORDER BY first), 'd') AS before FROM delivered)
      SELECT concat_ws(' ', venue, symbol, trade_id) || ': ' || op || ' at ' || lsn || ' follows ' || before AS what
        FROM ordered WHERE (op IN ('c', 'r')) <> (before = 'd') LIMIT 10`);
    return wrong.map(({ what }) => `I1 ${what}`);
  } finally {
    await db.end();
  }
}
