/** `millrace backfill`: the running connector reads the rows of a captured table again. A plan, then the work with its progress. */
import type { Command } from 'commander';
import type { Client } from 'pg';
import { followBackfill, requireRunning } from '../../../connectors/backfill/follow.ts';
import { Notices } from '../../../connectors/backfill/notices.ts';
import { type BackfillPlan, planBackfill } from '../../../connectors/backfill/plan.ts';
import {
  type Backfill,
  begin,
  begunBackfill,
  forget,
  lockBackfill,
  requestStop,
} from '../../../connectors/backfill/signals.ts';
import { ConnectClient } from '../../../connectors/client.ts';
import { topicOf } from '../../../connectors/recapture/rows/tables.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { endsOf, type Log } from '../../../core/log/log.ts';
import { definitionOf } from '../../capture/capture.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { notConfirmed, waitSeconds } from '../../terminal/options.ts';
import { printJson, say } from '../../terminal/print.ts';
import { ProgressLine } from '../../terminal/progress.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface BackfillOptions {
  readonly where?: string;
  readonly stop?: boolean;
  readonly yes?: boolean;
  /** Seconds. */
  readonly wait: number;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command('backfill')
    .description(
      'read rows of a captured table again, beside live changes; for tables and archive, never for candles; shows the plan, and acts with --yes',
    )
    .argument('[table]', 'trades or instruments; default: follow the running backfill')
    .option('--where <condition>', "only rows that match, as after WHERE: executed_at >= '2026-01-01'")
    .option('--stop', 'end the running backfill; rows that were read stay')
    .option('--yes', 'carry out the plan')
    .option('--wait <seconds>', 'longest wait without a new row', waitSeconds, 120)
    .option('--json', 'print JSON')
    .action(backfill);
}

interface Context {
  readonly config: Config;
  readonly options: BackfillOptions;
  readonly client: ConnectClient;
  readonly connector: string;
  readonly db: Client;
  readonly log: Log;
  readonly schemas: Schemas;
  readonly signal: AbortSignal;
}

async function backfill(table: string | undefined, options: BackfillOptions, command: Command): Promise<void> {
  if (table === undefined && options.where !== undefined) {
    throw new MillraceError('CONFIG_INVALID', '--where without a table', { remedy: 'Name the table before it.' });
  }
  if (table !== undefined && options.stop === true) {
    throw new MillraceError('CONFIG_INVALID', '--stop with a table', {
      remedy: 'At most one backfill runs: use `millrace backfill --stop`.',
    });
  }
  const config = loadConfig(command);
  const definition = await definitionOf(config);
  const signal = untilSignal(
    () =>
      new MillraceError('INTERRUPTED', 'interrupted; the backfill continues in the connector', {
        remedy: 'Look again with `millrace backfill`, or end it with `millrace backfill --stop`.',
      }),
  );
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace backfill', signal });
  await withLog(config, async (log, schemas) => {
    const client = new ConnectClient({ url: config.connect.url });
    const context = { config, options, client, connector: definition.name, db, log, schemas, signal };
    if (table === undefined) await standing(context);
    else await carryOut(context, table);
  });
}

/** Follows or ends the running backfill. */
async function standing(context: Context): Promise<void> {
  const { db, options, client, connector, signal } = context;
  const found = await begunBackfill(db);
  if (found === undefined) {
    if (options.json === true) printJson({ backfill: null });
    else say('no backfill is running');
    return;
  }
  if (options.stop === true && !(await hasEnded(context, found))) {
    await requireRunning(client, connector, signal);
    await requestStop(db, found);
  }
  await follow(context, found);
}

async function carryOut(context: Context, table: string): Promise<void> {
  const { config, options, client, connector, db, log, signal } = context;
  const plan = await planBackfill(db, {
    table,
    ...(options.where === undefined ? {} : { where: options.where }),
  });
  await requireRunning(client, connector, signal);
  if ((await client.config(connector, signal))?.['signal.data.collection'] === undefined) {
    throw new MillraceError(
      'CONNECTOR_INVALID',
      `connector ${connector} takes no signals: an earlier release created it`,
      {
        remedy: 'Run `millrace connectors apply`.',
      },
    );
  }
  await requireNone(context);
  const topic = topicOf(config.capture.prefix, plan.table);
  if (options.json !== true) printPlan(plan, topic, connector);
  if (plan.rows === 0) {
    if (options.json === true) printJson({ ...shown(plan), topic, carriedOut: false });
    return;
  }
  if (options.yes !== true) {
    if (options.json === true) printJson({ ...shown(plan), topic, carriedOut: false });
    throw notConfirmed();
  }
  if (!(await lockBackfill(db, config.capture.slot))) throw active('another command is about to begin one');
  await requireNone(context);
  const from = await endsOf(log, topic);
  const [notified = 0n] = await endsOf(log, `${config.capture.prefix}.notifications`);
  await follow(context, await begin(db, plan, { from, notified }));
}

/** Allows one backfill at a time: two would share Debezium's chunks, and their rows could not be told apart. */
async function requireNone(context: Context): Promise<void> {
  const { db, client, connector, signal } = context;
  const found = await begunBackfill(db);
  if (found !== undefined) {
    if (!(await hasEnded(context, found))) throw active(`that of ${found.table}, begun ${found.begun}, has not ended`);
    await forget(db, found);
  }
  const { tables } = await client.unread(connector, signal);
  if (tables !== undefined && tables.length > 0) throw active(`Debezium still reads ${tables.join(', ')}`);
}

function active(reason: string): MillraceError {
  return new MillraceError('BACKFILL_ACTIVE', `a backfill is running: ${reason}`, {
    remedy: 'Follow it with `millrace backfill`, or end it with `millrace backfill --stop`.',
  });
}

async function hasEnded({ log, schemas, config, signal }: Context, found: Backfill): Promise<boolean> {
  return (
    (await new Notices(log, schemas, `${config.capture.prefix}.notifications`, found).ending(signal)) !== undefined
  );
}

async function follow(context: Context, found: Backfill): Promise<void> {
  const { config, options, ...sources } = context;
  const { table, where, rows, begun } = found;
  const progress = new ProgressLine('backfill');
  const topic = `${config.capture.prefix}.${table}`;
  const { result, captured } = await followBackfill({
    ...sources,
    prefix: config.capture.prefix,
    backfill: found,
    waitMs: options.wait * 1000,
    ...(options.json === true
      ? {}
      : {
          onProgress: (done, begun) => {
            const text = begun
              ? `${done} rows of ${rows} are in ${topic}`
              : 'the capture has earlier changes to publish first';
            progress.update({ done, total: rows, text: `${table}: ${text}` });
          },
        }),
  }).finally(() => progress.end());
  if (options.json === true) {
    printJson({ table, where, rows, begun, topic, carriedOut: true, result, captured });
    return;
  }
  const end = result === 'completed' ? 'completed' : 'stopped';
  say(`backfill of ${table} ${end}: ${captured} rows captured of ${rows} that matched when it began`);
  if (result === 'completed' && captured < rows) {
    say('the others changed or were deleted while it ran: their changes are in the topic');
  }
}

function printPlan({ table: { name }, where, rows }: BackfillPlan, topic: string, connector: string): void {
  say(`backfill of ${name}${where === null ? '' : ` where ${where}`}: ${rows} rows match`);
  if (rows === 0) {
    say('nothing to do');
    return;
  }
  say();
  for (const [i, step] of [
    `a row of capture_signals tells connector ${connector}; it reads the rows in chunks beside its stream, and writers are not blocked`,
    `each goes to ${topic} as r, source.snapshot incremental; for a row that changes meanwhile, only its change`,
    'tables of processors and the archive take it as the newest version of its row; verify does not count it as a change',
  ].entries()) {
    say(`${i + 1}. ${step}`);
  }
  say(
    '\nNothing is folded: candles, features, anomalies and market.trades stay as they are. Processors record skipped trades in the late topics (SNAPSHOT).',
  );
}

function shown({ table, where, rows }: BackfillPlan): object {
  return { table: table.name, where, rows };
}
