/** `millrace connectors park` and `unpark`: the plan, then the work. */
import { applyConnector, traceCauses } from '../../../connectors/apply.ts';
import type { ConnectClient } from '../../../connectors/client.ts';
import type { Definition } from '../../../connectors/definition/definition.ts';
import { parkable, withoutTables } from '../../../connectors/definition/parking.ts';
import { addToRecord, writeRecord } from '../../../connectors/source/record.ts';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { notConfirmed } from '../../terminal/options.ts';
import { say } from '../../terminal/print.ts';
import { slotState } from '../capture.ts';
import { recaptureConnector } from '../recapture.ts';

export interface ParkCommand {
  readonly config: Config;
  readonly client: ConnectClient;
  /** The complete definition from its file, with parked tables. */
  readonly definition: Definition;
  readonly table: string;
  readonly yes?: boolean;
  readonly signal: AbortSignal;
}

/**
 * Parks a table, so that the others go on.
 *
 * @throws MillraceError CONFIG_INVALID: the table cannot be parked. CONFIRMATION_NEEDED without `yes`, after the plan. Errors of apply.ts:
 *   the table is parked nevertheless
 */
export async function parkTable({ config, client, definition, yes, signal, ...options }: ParkCommand): Promise<void> {
  const table = parkable(options.table);
  const { name } = definition;
  const { record, definition: now } = await slotState(config, client, definition, signal);
  if (record.parked?.[table] !== undefined) return say(`${table} is parked already`);
  const cause = lastCause((await client.status(name, signal))?.tasks[0]?.trace) ?? record.restarts?.at(-1)?.cause;
  if (cause !== undefined) say(`last failure of ${name}: ${cause}`);
  plan(yes, [
    `take ${table} from ${name}: its changes are not captured until it is unparked; the publication keeps it`,
    'continue with the other tables; log time advances with them, so windows close without the missing changes',
    `report it in status, doctor and verify, which exit with 1 until: millrace connectors unpark ${table}`,
  ]);
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors', signal });
  const since = new Date().toISOString();
  // Recorded first, so that a concurrent process that applies the definition leaves the table out too.
  await addToRecord(db, name, 'parked', { [table]: { since, cause: cause ?? null } });
  // This entry stays after `unpark` until the table has been recaptured.
  await addToRecord(db, name, 'missed', { [table]: { since, cause: `${table} was parked` } });
  const { status } = await applyConnector(client, withoutTables(now, [table]), { signal });
  await writeRecord(db, name, 'restarts', undefined);
  say(`${table} is parked; ${name} is ${status.state} without it`);
}

/**
 * Unparks a table. Its missed changes are filled by comparison.
 *
 * @throws MillraceError CONFIG_INVALID, CONFIRMATION_NEEDED; errors of recapture.ts: the table then stays parked, and the others go on
 */
export async function unparkTable({ config, client, definition, yes, signal, ...options }: ParkCommand): Promise<void> {
  const table = parkable(options.table);
  const { name } = definition;
  const { record } = await slotState(config, client, definition, signal);
  const before = record.parked?.[table];
  if (before === undefined) {
    throw new MillraceError('CONFIG_INVALID', `${table} is not parked`, {
      remedy: '`millrace connectors status` lists the parked tables.',
    });
  }
  say(`${table} is parked since ${before.since}${before.cause === null ? '' : `: ${before.cause}`}`);
  plan(yes, [
    `compare all captured tables and ${table} with the log, and write the differences: millrace connectors recapture`,
    `continue ${name} with ${table}`,
  ]);
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors', signal });
  const { [table]: _taken, ...others } = record.parked ?? {};
  await writeRecord(db, name, 'parked', others);
  try {
    await recaptureConnector({ config, client, definition, yes: true, signal });
  } catch (error) {
    await parkAgain({ config, client, definition, table, before, signal });
    throw error;
  }
}

/** Parks the table again after a failure, because it must not stop the others. */
async function parkAgain({
  config,
  client,
  definition,
  table,
  before,
  signal,
}: Pick<ParkCommand, 'config' | 'client' | 'definition' | 'signal'> & {
  readonly table: string;
  readonly before: { since: string; cause: string | null };
}): Promise<void> {
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors' });
  await addToRecord(db, definition.name, 'parked', { [table]: before });
  const { loss, definition: without } = await slotState(config, client, definition);
  // The slot was replaced already, so the others are compared once more.
  if (loss !== undefined) await recaptureConnector({ config, client, definition, yes: true, signal });
  else await applyConnector(client, without, { signal });
  say(`${table} stays parked; the other tables go on`);
}

/** @throws MillraceError CONFIRMATION_NEEDED */
function plan(yes: boolean | undefined, steps: readonly string[]): void {
  if (yes === true) return;
  for (const [i, step] of steps.entries()) say(`${i + 1}. ${step}`);
  throw notConfirmed();
}

function lastCause(trace: string | undefined): string | undefined {
  return trace === undefined ? undefined : traceCauses(trace).at(-1);
}
