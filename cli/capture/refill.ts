/** `millrace repair --from-postgres`: reads the lost rows of captured tables again. A plan, then the work with its progress. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applyConnector } from '../../connectors/apply.ts';
import { ConnectClient } from '../../connectors/client.ts';
import { type Refilled, refill } from '../../connectors/refill/refill.ts';
import type { ListedObject } from '../../core/archive/listing/objects.ts';
import { Copies } from '../../core/archive/reading/copies.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import type { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import type { Log } from '../../core/log/log.ts';
import { cacheDir } from '../settings/config.ts';
import { count, printTable, say } from '../terminal/print.ts';
import { ProgressLine } from '../terminal/progress.ts';
import { definitionOf, masksOf, slotLost, slotState } from './capture.ts';

export interface RefillCommand {
  readonly config: Config;
  readonly log: Log;
  readonly schemas: Registry;
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
  /** Prints nothing. */
  readonly quiet: boolean;
}

/**
 * Refills the lost rows. Afterwards the connector runs again, also after a failure. @throws MillraceError SLOT_LOST, and errors of
 * refill.ts and apply.ts
 */
export async function refillFromPostgres({
  config,
  log,
  schemas,
  store,
  signal,
  quiet,
}: RefillCommand): Promise<Refilled> {
  const client = new ConnectClient({ url: config.connect.url });
  const { slot, prefix } = config.capture;
  const { loss, definition } = await slotState(config, client, await definitionOf(config), signal);
  if (loss !== undefined) throw slotLost(loss.reason);
  const scratchDir = await mkdtemp(join(tmpdir(), 'millrace-refill-'));
  const copies = new Copies({ store, dir: join(cacheDir(), 'archive') });
  const progress = new ProgressLine('reading again');
  try {
    return await refill({
      ...{ client, definition, log, schemas, slot, prefix, signal, copies, scratchDir, masks: masksOf(config) },
      postgresUrl: config.postgres.url,
      onProgress: ({ doing, done, total }) => {
        if (!quiet) progress.update({ done, total, text: `${doing}, ${done} of ${total}` });
      },
    });
  } finally {
    progress.end();
    await rm(scratchDir, { recursive: true, force: true });
    await applyConnector(client, definition);
    await copies.prune();
  }
}

/** @param lost objects of captured tables, including those that this plan gives up */
export function printRefillPlan(lost: readonly ListedObject[]): void {
  const rows = lost.reduce((sum, object) => sum + object.rows, 0n);
  const days = new Set(lost.map(({ day }) => day));
  say(`\nlost from captured tables: ${count(rows)} rows of ${lost.length} files, ${days.size} days`);
  for (const [i, step] of [
    'stop the connector: no change is missed, and none arrives until it resumes',
    'read the other files of these partitions, and compare them with the tables',
    'write the rows that the archive lacks to the capture topic: rows of the lost days, and deletions; processors skip them',
    'resume the connector at its position',
  ].entries()) {
    say(`${i + 1}. ${step}`);
  }
  say('\nHistory does not come back: intermediate changes, and rows that were inserted and deleted.');
}

export function printRefilled({ days, deleted }: Refilled): void {
  if (days.length === 0) return;
  say();
  printTable(
    ['topic', 'day', 'partition', 'lost rows', 'read again', 'row hash'],
    days.map(({ topic, day, partition, lost, again, same }) => [
      topic,
      day,
      `${partition}`,
      count(lost.rows),
      count(again.rows),
      again.rows === 0n ? '' : same ? `${again.rowHash}, equal to that of the lost rows` : again.rowHash,
    ]),
  );
  if (deleted > 0) say(`${count(deleted)} rows are no longer in Postgres: their deletion was written again`);
  say('the next cut of the sink archives them, and millrace verify then compares them');
}
