/** The service `supervisor`: the connector's supervisor and the guard of its slot. */
import { setTimeout as delay } from 'node:timers/promises';
import { ConnectClient } from '../connectors/client.ts';
import { SlotGuard } from '../connectors/guard.ts';
import { dropSlot, lockSlot } from '../connectors/recapture/slot.ts';
import { readSlot } from '../connectors/slot.ts';
import { Supervisor } from '../connectors/supervisor.ts';
import { connectPostgres } from '../core/postgres.ts';
import { slotLost } from './capture.ts';
import type { Service, ServiceContext } from './service.ts';

const slotPollMs = 5_000;
const capturing = 'millrace-trades';

/** Keeps the connector running, and stops it when the slot is lost. */
export async function startSupervisor(context: ServiceContext): Promise<Service> {
  const { config, logger } = context;
  const { capture } = context.metrics;
  const stop = new AbortController();
  const client = new ConnectClient({ url: config.connect.url });
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
        logger.warn({ connector, task, attempt, cause }, 'a failed connector was restarted');
      },
      failed: (error) => {
        capture.connectUp.set(0);
        logger.warn({ err: error }, 'Kafka Connect cannot be asked');
      },
    },
  });
  const guard = slotGuard(context, client);
  const running = Promise.all([supervisor.run(stop.signal), guardSlot(context, guard, stop.signal)]);
  return {
    name: 'supervisor',
    done: running.then(() => undefined),
    get ready() {
      return guard.loss === undefined;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running.catch(() => undefined);
    },
  };
}

/** A loss is told at every look, in the log and as a metric: the process stays, so that an alert can be made of it. */
function slotGuard({ config, metrics: { capture }, logger }: ServiceContext, client: ConnectClient): SlotGuard {
  const { slot } = config.capture;
  const connect = (signal: AbortSignal | undefined) =>
    connectPostgres({ url: config.postgres.url, name: 'millrace supervisor', ...(signal && { signal }) });
  return new SlotGuard({
    slot,
    connector: capturing,
    client,
    read: async (signal) => {
      await using db = await connect(signal);
      return await readSlot(db, slot);
    },
    drop: async (signal) => {
      await using db = await connect(signal);
      if (!(await lockSlot(db, slot))) return;
      await dropSlot(db, slot, signal);
      logger.warn({ slot }, 'the slot was dropped: it is of the time before Postgres was restored');
    },
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
      kept: () => logger.info({ slot }, 'slot and position fit again: capture goes on'),
    },
  });
}

async function guardSlot({ config, metrics, logger }: ServiceContext, guard: SlotGuard, signal: AbortSignal) {
  while (!signal.aborted) {
    try {
      await guard.look(signal);
      if (guard.loss === undefined) metrics.capture.slotLost.set({ slot: config.capture.slot }, 0);
    } catch (error) {
      if (!signal.aborted) logger.warn({ err: error }, 'the replication slot cannot be measured');
    }
    await delay(slotPollMs, undefined, { signal }).catch(() => undefined);
  }
}
