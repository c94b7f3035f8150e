/** `millrace connectors recapture`: the plan, then the work with its progress. */
import { applyConnector } from '../../connectors/apply.ts';
import type { ConnectClient } from '../../connectors/client.ts';
import type { Definition } from '../../connectors/definition/definition.ts';
import { requireWritable } from '../../connectors/recapture/preflight.ts';
import { type Recaptured, recapture } from '../../connectors/recapture/recapture.ts';
import { tablesWithout, topicOf } from '../../connectors/recapture/rows/tables.ts';
import type { SlotState } from '../../connectors/supervision/guard.ts';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { formatLsn } from '../../core/values/lsn.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import { withLog } from '../stack/log.ts';
import { notConfirmed } from '../terminal/options.ts';
import { printJson, printTable, say } from '../terminal/print.ts';
import { ProgressLine } from '../terminal/progress.ts';
import { masksOf, requireComplete, slotState } from './capture.ts';
import { settleRecord } from './source/settle.ts';

export interface RecaptureCommand {
  readonly config: Config;
  readonly client: ConnectClient;
  readonly definition: Definition;
  readonly yes?: boolean;
  readonly json?: boolean;
  readonly signal: AbortSignal;
}

/**
 * @throws MillraceError CONFIRMATION_NEEDED without `yes`, after the plan; CAPTURE_INCOMPLETE; errors of preflight.ts, recapture.ts and
 *   apply.ts
 */
export async function recaptureConnector(options: RecaptureCommand): Promise<void> {
  const { config, client, signal } = options;
  const { slot, prefix } = config.capture;
  const state = await slotState(config, client, options.definition, signal);
  const { loss, position, definition } = state;
  // A `blind` finding would lose changes again after the recapture.
  requireComplete(state.findings.filter(({ effect }) => effect === 'blind'));
  const parked = Object.keys(state.record.parked ?? {});
  const missed = state.findings.find(({ effect }) => effect === 'missed')?.cause;
  const reason = loss?.reason ?? missed ?? reasonOf(definition.name, slot, position);
  const tables = tablesWithout(parked);
  const topics = tables.map((table) => topicOf(prefix, table));
  if (options.yes !== true) {
    if (options.json === true) printJson({ carriedOut: false, loss: loss ?? null, reason, position, slot, topics });
    else printPlan(definition.name, slot, { reason, loss, position }, topics);
    await withLog(config, (_log, schemas) => requireWritable(config.postgres.url, schemas, prefix, tables));
    throw notConfirmed();
  }
  const progress = new ProgressLine('recapture');
  const before = await client.status(definition.name, signal);
  const done = await withLog(config, (log, schemas) =>
    recapture({
      ...{ client, definition, log, schemas, slot, prefix, signal, parked, masks: masksOf(config) },
      postgresUrl: config.postgres.url,
      ...(options.json === true
        ? {}
        : {
            onProgress: ({ doing, topic, done, total }) =>
              progress.update({ done, total, text: `${doing} ${topic}, ${done} of ${total}` }),
          }),
    }),
  ).catch(async (error: unknown) => {
    progress.end();
    if (before?.state === 'RUNNING') await goOn(config, client, options.definition);
    throw error;
  });
  progress.end();
  await settleRecord(config, state);
  await applyConnector(client, definition, { signal });
  if (options.json === true) printJson({ carriedOut: true, reason, ...done });
  else printResult(done);
}

/** Restarts the connector unchanged. A recapture that failed before it replaced the slot has lost nothing. */
async function goOn(config: Config, client: ConnectClient, definition: Definition): Promise<void> {
  try {
    const { loss, position } = await slotState(config, client, definition);
    if (loss === undefined && position?.unfinished === false) await client.resume(definition.name);
  } catch (error) {
    // Only the first failure is reported.
    if (!(error instanceof MillraceError)) throw error;
  }
}

/**
 * The reason to print. A comparison is always allowed, and finds changes that no slot shows, such as a TRUNCATE that bypassed its trigger.
 */
function reasonOf(connector: string, slot: string, position: SlotState['position']): string {
  if (position === undefined) return `connector ${connector} has no position`;
  if (position.unfinished) return `the first snapshot of connector ${connector} is not finished, and cannot be resumed`;
  return `nothing is lost: slot ${slot} has all changes that are not captured yet`;
}

function printPlan(
  connector: string,
  slot: string,
  { reason, loss, position }: Pick<SlotState, 'loss' | 'position'> & { readonly reason: string },
  topics: readonly string[],
): void {
  say(reason);
  if (position?.unfinished === false) {
    const since = position.time === 0n ? '' : `, committed ${formatTimestamp(position.time)}`;
    const missing = loss === undefined ? '' : '; later commits are missing';
    say(`captured up to ${formatLsn(position.lsn)}${since}${missing}`);
  }
  say('');
  for (const [i, step] of [
    `stop connector ${connector}`,
    `read ${topics.join(' and ')} completely: the newest version of each row in the log`,
    'advance the write-ahead log if it ends before the captured position: no new change may have the LSN of a captured one',
    `drop slot ${slot} if it exists, create it again, and compare the log with the tables at its start`,
    'write the differences to the log: missing rows as r, changed ones as u, deleted ones as d',
    `start ${connector} at the start of the slot`,
  ].entries()) {
    say(`${i + 1}. ${step}`);
  }
  say(
    '\nWriters are not blocked. Intermediate versions of a row are lost: each row gets one change for the whole gap.',
  );
}

function printResult({ lsn, from, to, moved, tables, untold }: Recaptured): void {
  printTable(
    ['table', 'missing', 'changed', 'deleted'],
    tables.map(({ table, missing, changed, deleted }) => [table, `${missing}`, `${changed}`, `${deleted}`]),
  );
  say(
    `\nthe gap was from ${formatTimestamp(from)} to ${formatTimestamp(to)}; the new slot begins at ${formatLsn(lsn)}`,
  );
  if (moved > 0n)
    say(`Postgres ended before the captured position: its write-ahead log was advanced by ${moved} bytes`);
  for (const { table, rows } of untold) {
    say(`${table}: it was never captured before; each of its ${rows} rows follows with its next change`);
  }
}
