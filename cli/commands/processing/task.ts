import type { Command } from 'commander';
import { MillraceError } from '../../../core/base/errors.ts';
import { pause, readControl, resume } from '../../../core/operations/control.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { ControlEntry } from '../../../schemas/gen/control_entry.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { stages } from '../../status/stages.ts';
import { partitionNumber } from '../../terminal/options.ts';
import { printJson, printTable, say } from '../../terminal/print.ts';

interface TaskOptions {
  readonly partition?: string;
  readonly reason?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const group = program
    .command('task')
    .description('pause and resume the tasks of processors and sinks, on every machine');
  group
    .command('pause')
    .description(
      'pause tasks until they are resumed, also after a restart; they first commit the records that they have taken',
    )
    .argument('<name>', 'processor or sink')
    .option('--partition <n>', 'only the task of this partition')
    .option('--reason <text>', 'the reason, which status shows')
    .option('--json', 'print JSON')
    .action(async (name: string, options: TaskOptions, command: Command) => {
      const partition = partitionOf(options.partition);
      const known = await withLog(loadConfig(command), async (log, schemas) => {
        warnIfUnknown(name);
        await pause(log, schemas, { name, partition, reason: options.reason ?? null, nowMicros: now() });
        return await readControl(log, schemas);
      });
      print(known, options);
    });
  group
    .command('resume')
    .description('take a pause back; tasks continue at their positions')
    .argument('<name>', 'processor or sink')
    .option('--partition <n>', 'only the task of this partition; default: every order for the name')
    .option('--json', 'print JSON')
    .action(async (name: string, options: TaskOptions, command: Command) => {
      const partition = partitionOf(options.partition);
      const { taken, left } = await withLog(loadConfig(command), async (log, schemas) => ({
        taken: await resume(log, schemas, { name, partition, nowMicros: now() }),
        left: await readControl(log, schemas),
      }));
      if (taken.length === 0) {
        const what = partition === null ? name : `partition ${partition} of ${name}`;
        throw new MillraceError('CONFIG_INVALID', `no separate order pauses ${what}`, {
          remedy: 'millrace task list shows the orders; one for all partitions is taken back without --partition',
        });
      }
      if (options.json !== true) {
        for (const each of taken)
          say(`resumed: ${each.partition === null ? 'all tasks' : `task ${each.partition}`} of ${name}`);
      }
      print(left, options);
    });
  group
    .command('list')
    .description('show the pauses')
    .option('--json', 'print JSON')
    .action(async (options: TaskOptions, command: Command) => {
      print(await withLog(loadConfig(command), readControl), options);
    });
}

/** Null: all partitions. */
function partitionOf(text: string | undefined): number | null {
  return text === undefined ? null : partitionNumber(text);
}

/** Warns only: a user's processor is not in the list. */
function warnIfUnknown(name: string): void {
  if (stages.some((stage) => stage.name === name)) return;
  const known = stages.map((stage) => stage.name).join(', ');
  process.stderr.write(`note: ${name} is not one of ${known}; the order applies to any stage with that name\n`);
}

function print(entries: readonly ControlEntry[], { json }: TaskOptions): void {
  if (json === true) {
    printJson(entries);
    return;
  }
  if (entries.length === 0) {
    process.stdout.write('nothing is paused\n');
    return;
  }
  printTable(
    ['paused', 'partition', 'since', 'reason'],
    entries.map(({ name, partition, paused_at, reason }) => [
      name,
      partition === null ? 'all' : String(partition),
      formatTimestamp(paused_at),
      reason ?? '',
    ]),
  );
}

function now(): bigint {
  return BigInt(Date.now()) * 1000n;
}
