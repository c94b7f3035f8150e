/** Faults of the connector and of what it reads from: task, Postgres, replication slot. */
import { setTimeout as delay } from 'node:timers/promises';
import { definitionOf, slotState } from '../../../cli/capture/capture.ts';
import { applyConnector } from '../../../connectors/apply.ts';
import { ConnectClient } from '../../../connectors/client.ts';
import type { Definition } from '../../../connectors/definition/definition.ts';
import { recapture } from '../../../connectors/recapture/recapture.ts';
import { dropSlot } from '../../../connectors/recapture/slot.ts';
import { readSlot } from '../../../connectors/supervision/slot.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { noMasks } from '../../../core/capture/masks.ts';
import { eventually } from '../../support/patience.ts';
import type { Burst, Stage } from '../burst.ts';

export interface Capture {
  readonly client: ConnectClient;
  readonly definition: Definition;
}

export async function captureOf({ config }: Pick<Stage, 'config'>): Promise<Capture> {
  return { client: new ConnectClient({ url: config.connect.url }), definition: await definitionOf(config) };
}

export async function isRunning({ client, definition }: Capture): Promise<boolean> {
  const status = await client.status(definition.name);
  return (
    status?.state === 'RUNNING' && status.tasks.length > 0 && status.tasks.every(({ state }) => state === 'RUNNING')
  );
}

const recoveryMs = 180_000;
/** Kafka Connect resumes a connector in less. */
const resumedMs = 15_000;

export const taskFailed: Burst = {
  fault: 14,
  title: 'connector’s task FAILED: its connection to Postgres ended, with Debezium’s own retries used up',
  injections: 20,
  alert: 'ConnectorRestartLoop',
  async prepare(stage) {
    const { client, definition } = await captureOf(stage);
    const config = { ...definition.config, 'errors.max.retries': '0', 'slot.max.retries': '0' };
    await applyConnector(client, { ...definition, config });
  },
  async inject(stage) {
    const capture = await captureOf(stage);
    // RUNNING it is before it has connected, and then there is nothing to end.
    await eventually(async () => {
      await stage.db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'millrace_capture'`);
      await delay(500);
      return !(await isRunning(capture));
    }, recoveryMs);
    // The supervisor's work, with waits that grow.
    await eventually(() => isRunning(capture), recoveryMs);
  },
};

export const postgresRestart: Burst = {
  fault: 15,
  title: 'Postgres restarted in order (SIGINT), then killed (SIGKILL), in turn',
  injections: 20,
  async inject({ stack, note }, index) {
    const signal = index % 2 === 0 ? 'SIGINT' : 'SIGKILL';
    await stack.kill('postgres', signal);
    await stack.restart('postgres');
    note(signal);
  },
};

const losses = ['dropped under the running connector', 'dropped while the connector is down', 'made anew'] as const;
const quiet: string[] = [];

export const slotLost: Burst = {
  fault: 16,
  title: 'replication slot dropped under the connector, while it is down, or made anew; then recaptured',
  injections: 20,
  alert: 'SlotLost',
  async prepare() {
    quiet.length = 0;
  },
  async inject(stage, index) {
    const { config, log, schemas, db, note } = stage;
    const { client, definition } = await captureOf(stage);
    const { slot, prefix } = config.capture;
    const how = losses[index % losses.length] ?? losses[0];
    if (how !== losses[0]) await client.stop(definition.name);
    await loseSlot(stage, slot);
    if (how === losses[2]) await db.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [slot]);
    const stopped = async () => (await client.status(definition.name))?.state === 'STOPPED';
    if (how !== losses[0]) {
      await client.resume(definition.name);
      // The guard may have stopped it again before it was seen to run.
      await eventually(async () => !(await stopped()), resumedMs).catch(() => undefined);
    }
    await eventually(stopped, recoveryMs).catch(() =>
      quiet.push(`I6 the slot was ${how}, and nobody stopped the connector`),
    );
    if ((await slotState(config, client, definition)).loss === undefined) quiet.push(`I1 ${how} is called no loss`);
    // Long enough to be scraped.
    await stage.pause(6_000, 12_000);
    const done = await recapture({
      ...{ client, definition, log, schemas, slot, prefix, masks: noMasks },
      postgresUrl: config.postgres.url,
    });
    stage.recaptured.push(done.place);
    await applyConnector(client, definition);
    const [trades] = done.tables;
    note(`${how}: ${trades?.missing} missing, ${trades?.changed} changed, ${trades?.deleted} deleted`);
  },
  check: async () => quiet,
};

async function loseSlot({ db }: Stage, slot: string): Promise<void> {
  await eventually(async () => {
    await db.query(
      'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active',
      [slot],
    );
    return dropSlot(db, slot, AbortSignal.timeout(1_000));
  }, recoveryMs);
}

/** Of an uncaptured table, in one injection. */
const busyBytes = 40_000_000;
/** Beyond it the heartbeat would not move the slot. */
const idleLag = 4_000_000n;
const kept: string[] = [];

export const connectorDown: Burst = {
  fault: 17,
  title:
    'connector down while another table writes 40 MB, once for 150 s; the same beside it while no captured row changes',
  injections: 20,
  alert: 'ReplicationSlotInactive',
  async prepare({ db }) {
    kept.length = 0;
    await db.query('CREATE TABLE IF NOT EXISTS busy (text text)');
  },
  async inject(stage, index) {
    const { db, config, market } = stage;
    const { client, definition } = await captureOf(stage);
    const lag = async () => (await readSlot(db, config.capture.slot))?.confirmedLagBytes ?? 0n;
    await client.stop(definition.name);
    await write(stage);
    if ((await lag()) < BigInt(busyBytes) / 2n) kept.push('I1 a slot that nobody reads did not keep what it has to');
    await delay(index === 0 ? 150_000 : 2_000);
    await client.resume(definition.name);
    market.pause();
    try {
      await eventually(async () => (await lag()) < idleLag, recoveryMs);
      await write(stage);
      await eventually(async () => (await lag()) < idleLag, 60_000).catch(() =>
        kept.push(
          `I6 the heartbeat did not move the slot: ${config.capture.slot} keeps what an uncaptured table wrote`,
        ),
      );
    } finally {
      market.resume();
    }
  },
  check: async () => kept,
};

async function write({ config }: Stage): Promise<void> {
  const db = await connectPostgres({ url: config.postgres.url, name: 'busy' });
  try {
    await db.query(`INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, ${busyBytes / 1000})`);
    await db.query('TRUNCATE busy');
  } finally {
    await db.end();
  }
}
