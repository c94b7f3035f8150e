/**
 * The service `supervisor`: supervisor of the connector, guard of its slot, check of the source, and filling of an interrupted first
 * snapshot.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ConnectClient } from '../../connectors/client.ts';
import type { FirstSnapshot } from '../../connectors/recapture/first-snapshot.ts';
import { dropSlot, lockSlot } from '../../connectors/recapture/slot.ts';
import { readRecord, writeRecord } from '../../connectors/source/record.ts';
import { SlotGuard, type SlotGuardMemory } from '../../connectors/supervision/guard.ts';
import { readSlot } from '../../connectors/supervision/slot.ts';
import { Supervisor } from '../../connectors/supervision/supervisor.ts';
import type { Config } from '../../core/base/config.ts';
import { connectPostgres, type Postgres } from '../../core/base/postgres.ts';
import type { Service, ServiceContext } from '../run/service.ts';
import { definitionOf, slotLost, sourceState } from './capture.ts';
import { firstSnapshot } from './first-snapshot.ts';
import { RestartLog } from './source/restarts.ts';
import { SourceWatch } from './source/watch.ts';

const slotPollMs = 5_000;
const capturing = 'millrace-trades';

/** Keeps the connector running, stops it when the slot is lost, and fills an interrupted first snapshot. */
export async function startSupervisor(context: ServiceContext): Promise<Service> {
  const { config, logger } = context;
  const { capture } = context.metrics;
  const stop = new AbortController();
  const client = new ConnectClient({ url: config.connect.url });
  const restarts = new RestartLog({ connector: capturing, connect: () => connect(config, stop.signal) });
  // A counter that exists from the start lets increase() see the first restart.
  capture.connectorRestarts.inc({ connector: capturing }, 0);
  const supervisor = new Supervisor({
    client,
    connectors: [capturing],
    listener: {
      state: ({ connector, task, running }) => {
        capture.connectUp.set(1);
        capture.connectorStatus.set({ connector, task: `${task}` }, running ? 1 : 0);
      },
      gone: ({ connector, task }) => capture.connectorStatus.remove({ connector, task: `${task}` }),
      restarted: ({ connector, task, attempt, cause }) => {
        capture.connectorRestarts.inc({ connector });
        restarts.add(task, cause);
        logger.warn({ connector, task, attempt, cause }, 'a failed connector was restarted');
      },
      failed: (error) => {
        capture.connectUp.set(0);
        logger.warn({ err: error }, 'Kafka Connect does not answer');
      },
    },
  });
  const guard = slotGuard(context, client);
  const source = new SourceWatch(
    context,
    () => definitionOf(config),
    (signal) => connect(config, signal),
  );
  const watched = watchSlot(context, { guard, source, restarts, snapshot: snapshotOf(context, client) }, stop.signal);
  const running = Promise.all([supervisor.run(stop.signal), watched]);
  return {
    name: 'supervisor',
    done: running.then(() => undefined),
    get ready() {
      return guard.loss === undefined && source.sees;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running.catch(() => undefined);
    },
  };
}

/** Reports a lost slot at every check, in the log and as a metric. The process keeps running, so that an alert can fire. */
function slotGuard({ config, metrics: { capture }, logger }: ServiceContext, client: ConnectClient): SlotGuard {
  const { slot } = config.capture;
  return new SlotGuard({
    slot,
    connector: capturing,
    client,
    read: async (signal) => {
      await using db = await connect(config, signal);
      return await readSlot(db, slot);
    },
    drop: async (signal) => {
      await using db = await connect(config, signal);
      if (!(await lockSlot(db, slot))) return;
      await dropSlot(db, slot, signal);
      logger.warn({ slot }, 'the slot was dropped: it was made before Postgres was restored');
    },
    memory: guardMemory(config),
    listener: {
      measured: (found) => {
        capture.slotActive.set({ slot }, found?.active === true ? 1 : 0);
        capture.walSizeBytes.set({ slot }, Number(found?.retainedBytes ?? 0n));
        capture.slotLagBytes.set({ slot }, Number(found?.confirmedLagBytes ?? 0n));
        if (found?.safeBytes == null) capture.slotSafeBytes.remove({ slot });
        else capture.slotSafeBytes.set({ slot }, Number(found.safeBytes));
      },
      lost: ({ reason }, first) => {
        capture.slotLost.set({ slot }, 1);
        if (first) logger.error({ err: slotLost(reason) }, 'capture is stopped: changes are missing');
      },
      kept: () => logger.info({ slot }, 'slot and position match again: the capture continues'),
    },
  });
}

function guardMemory(config: Config): SlotGuardMemory {
  return {
    recall: async (signal) => {
      await using db = await connect(config, signal);
      return (await readRecord(db, capturing)).guard;
    },
    remember: async (known, signal) => {
      await using db = await connect(config, signal);
      const since = new Date().toISOString();
      await writeRecord(db, capturing, 'guard', known && { ...known, since });
    },
  };
}

function snapshotOf({ config, log, schemas, logger }: ServiceContext, client: ConnectClient): FirstSnapshot {
  const { slot } = config.capture;
  return firstSnapshot({
    ...{ config, client, connector: capturing, log, schemas },
    state: async (signal) => {
      await using db = await connect(config, signal);
      return await sourceState(db, config, await definitionOf(config));
    },
    listener: {
      interrupted: () => logger.warn({ slot }, 'the first snapshot was interrupted: the missing rows are being filled'),
      filled: ({ tables, untold }) => {
        logger.info({ slot, tables }, 'the first snapshot was filled by comparison: the capture continues');
        if (untold.length > 0)
          logger.warn({ untold }, 'tables that were never captured: each row follows with its next change');
      },
      begunAnew: () => logger.info({ slot }, 'no trade had been captured: the first snapshot starts again'),
    },
  });
}

function connect({ postgres: { url } }: Config, signal: AbortSignal | undefined): Promise<Postgres> {
  return connectPostgres({ url, name: 'millrace supervisor', ...(signal && { signal }) });
}

interface Watched {
  readonly guard: SlotGuard;
  readonly source: SourceWatch;
  readonly restarts: RestartLog;
  readonly snapshot: FirstSnapshot;
}

/** Runs the checks one after the other: filling a snapshot replaces its slot. */
async function watchSlot(
  { config, metrics, logger }: ServiceContext,
  { guard, source, restarts, snapshot }: Watched,
  signal: AbortSignal,
): Promise<void> {
  const attempt = async (otherwise: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!signal.aborted) logger.warn({ err: error }, otherwise);
    }
  };
  while (!signal.aborted) {
    await attempt('the replication slot cannot be measured', async () => {
      await guard.look(signal);
      if (guard.loss === undefined) metrics.capture.slotLost.set({ slot: config.capture.slot }, 0);
    });
    await attempt('the restarts cannot be written', () => restarts.flush());
    await attempt('the source cannot be checked', () => source.look(signal));
    if (guard.loss === undefined) {
      await attempt('the first snapshot cannot be filled', () => snapshot.look(signal));
    }
    await delay(slotPollMs, undefined, { signal }).catch(() => undefined);
  }
}
