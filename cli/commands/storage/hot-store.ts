/** `millrace hot-store`: its partitions, their retention, and its rebuild. */
import { type Command, InvalidArgumentError } from 'commander';
import { wallClock } from '../../../core/base/clock.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { GroupAdmin } from '../../../core/kafka/groups.ts';
import { dropPartition, listPartitions } from '../../../sinks/hot-store/partitions.ts';
import { planRebuild, rebuild } from '../../../sinks/hot-store/rebuild.ts';
import { expired, retentionClient } from '../../../sinks/hot-store/retention.ts';
import { hotStoreUrl } from '../../run/services.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { notConfirmed } from '../../terminal/options.ts';
import { printJson, printTable, say } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface RetentionCommandOptions {
  readonly days?: number;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const group = program.command('hot-store').description('the newest candles, anomalies and features in Postgres');
  group
    .command('partitions')
    .description('list the partitions of its tables, one for each day of event time')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }, command: Command) => {
      await using client = await retentionClient(hotStoreUrl(loadConfig(command)), untilSignal());
      const partitions = await listPartitions(client);
      if (options.json === true) printJson(partitions);
      else {
        const cells = partitions.map(({ table, day, bytes, attached }) => [
          table,
          day,
          String(bytes),
          stateOf(attached),
        ]);
        printTable(['table', 'day', 'bytes', 'state'], cells);
      }
    });
  group
    .command('retention')
    .description('drop the partitions of expired days; shows the plan, and acts with --yes')
    .option('--days <n>', 'days of event time to keep, today included; default: hotStore.retentionDays', daysOf)
    .option('--dry-run', 'show the plan; change nothing, exit with 0')
    .option('--yes', 'carry out the plan')
    .option('--json', 'print JSON')
    .action(retention);
  group
    .command('rebuild')
    .description('empty the tables and read the topics again from their beginning; shows the plan, and acts with --yes')
    .option('--dry-run', 'show the plan; change nothing, exit with 0')
    .option('--yes', 'carry out the plan')
    .option('--json', 'print JSON')
    .action(rebuildCommand);
}

async function rebuildCommand(options: Omit<RetentionCommandOptions, 'days'>, command: Command): Promise<void> {
  const config = loadConfig(command);
  const carryOut = options.yes === true && options.dryRun !== true;
  const { brokers, clientId } = config.kafka;
  await using groups = await GroupAdmin.open({ brokers, clientId });
  await withLog(config, async (log) => {
    const plan = await planRebuild({ log, groups });
    if (options.json === true) printJson({ carriedOut: carryOut, ...plan });
    else {
      const cells = plan.partitions.map(({ topic, partition, committed, start, end }) => {
        const now = committed === undefined ? 'not started' : String(committed);
        return [topic, String(partition), now, String(start), String(end - start)];
      });
      printTable(['input', 'partition', 'from', 'to', 'offsets to read'], cells);
      say('\nThe tables are emptied first. Records that the topics no longer keep do not come back.');
      if (plan.members.length > 0) say(`\nIt is running and has to be stopped first: ${plan.members.join(', ')}`);
    }
    if (options.dryRun === true) return;
    if (!carryOut) {
      throw notConfirmed();
    }
    await using client = await retentionClient(hotStoreUrl(config), untilSignal());
    await rebuild({ log, groups }, plan, client);
    if (options.json !== true) say('done: the next start of hot-store begins there');
  });
}

async function retention(options: RetentionCommandOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const days = options.days ?? config.hotStore.retentionDays;
  const carryOut = options.yes === true && options.dryRun !== true;
  const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted; dropped partitions stay dropped'));
  await using client = await retentionClient(hotStoreUrl(config), signal);
  const gone = expired(await listPartitions(client), days, wallClock.now());
  if (options.json === true) printJson({ carriedOut: carryOut, days, partitions: gone });
  else if (days === 0) say('all days are kept: hotStore.retentionDays is 0');
  else if (gone.length === 0) say(`nothing is older than ${days} days`);
  else {
    const cells = gone.map(({ table, day, bytes }) => [table, day, String(bytes)]);
    printTable(['table', 'day', 'bytes'], cells);
  }
  if (gone.length === 0 || options.dryRun === true) return;
  if (!carryOut) {
    throw notConfirmed('nothing was dropped yet');
  }
  for (const [i, partition] of gone.entries()) {
    signal.throwIfAborted();
    await dropPartition(client, partition);
    if (options.json !== true) say(`dropped ${partition.name} (${i + 1} of ${gone.length})`);
  }
}

function stateOf(attached: boolean | 'pending'): string {
  if (attached === true) return 'attached';
  return attached === 'pending' ? 'being detached' : 'detached';
}

function daysOf(text: string): number {
  const days = Number(text);
  if (!Number.isInteger(days) || days < 1 || days > 36_500)
    throw new InvalidArgumentError('a number of days, 1 to 36500');
  return days;
}
