import type { Command } from 'commander';
import { GroupAdmin } from '../../../core/kafka/groups.ts';
import { planRestore, type RestorePlan, restoreOffsets } from '../../../core/operations/offsets/restore.ts';
import { parseTarget, planReset, type ResetPlan, reset } from '../../../core/operations/reset.ts';
import { outputTopics } from '../../processors/built-in.ts';
import { loadProcessor } from '../../processors/module.ts';
import { positionsNamed } from '../../processors/positions.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { notConfirmed, partitionNumber } from '../../terminal/options.ts';
import { printJson, printTable } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface ResetCommandOptions {
  readonly to: string;
  readonly partition?: string;
  readonly module?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const group = program.command('offsets').description("processors' positions in their inputs");
  group
    .command('reset')
    .description(
      'move a stopped processor to another position in its input and drop its state; shows the plan, and acts with --yes',
    )
    .argument('[processor]', 'its name')
    .requiredOption('--to <place>', 'earliest, latest, an offset, or a time (ISO 8601, of record timestamps)')
    .option('--partition <n>', 'only this partition')
    .option('--module <file>', 'module of your own processor, instead of a name')
    .option('--yes', 'carry out the plan')
    .option('--json', 'print JSON')
    .action(resetCommand);
  group
    .command('restore')
    .description(
      'set the expired offsets of a stopped processor or sink to the positions in its state; shows the plan, and acts with --yes',
    )
    .argument('[name]', 'the processor or sink')
    .option('--module <file>', 'module of your own processor, instead of a name')
    .option('--skip-lost', 'for parquet: continue at the start of the log if unarchived records are gone')
    .option('--yes', 'carry out the plan')
    .option('--json', 'print JSON')
    .action(restoreCommand);
}

interface RestoreCommandOptions {
  readonly module?: string;
  readonly skipLost?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

async function restoreCommand(
  name: string | undefined,
  options: RestoreCommandOptions,
  command: Command,
): Promise<void> {
  const config = loadConfig(command);
  const signal = untilSignal();
  const { brokers, clientId } = config.kafka;
  await using groups = await GroupAdmin.open({ brokers, clientId });
  await withLog(config, async (log, schemas) => {
    const positions = await positionsNamed(config, log, schemas, name, options.module);
    const task = { log, groups, positions, skipLost: options.skipLost === true, signal };
    const plan = await planRestore(task);
    const changes = plan.tasks.flat().filter(({ action }) => action !== 'keep');
    if (options.json === true) printJson({ carriedOut: options.yes === true, ...plan });
    else printRestore(positions.name, plan);
    if (changes.length === 0) return;
    if (options.yes !== true) {
      throw notConfirmed();
    }
    await restoreOffsets(task, plan);
    if (options.json !== true) process.stdout.write(`${changes.length} offsets restored\n`);
  });
}

function printRestore(name: string, { members, tasks }: RestorePlan): void {
  const told = (offset: bigint | undefined): string => (offset === undefined ? 'none' : String(offset));
  printTable(
    ['input', 'partition', 'group', 'state', 'log', 'what is done'],
    tasks.flat().map(({ topic, partition, committed, own, start, end, action, target, lost }) => [
      topic,
      String(partition),
      told(committed),
      told(own),
      `${start} to ${end}`,
      {
        keep: committed === undefined ? 'none: it begins at the start' : 'nothing',
        restore: `continues at ${target}`,
        skip: `continues at ${target}; ${lost} offsets are lost`,
        refuse: 'refused',
      }[action],
    ]),
  );
  for (const { refusal } of tasks.flat()) {
    if (refusal !== undefined) process.stdout.write(`\n${refusal.cause}\n  remedy: ${refusal.remedy}\n`);
  }
  if (members.length > 0) {
    process.stdout.write(`\n${name} is running and has to be stopped first: ${members.join(', ')}\n`);
  }
}

async function resetCommand(name: string | undefined, options: ResetCommandOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const target = parseTarget(options.to);
  const { processor } = await loadProcessor(config, name, options.module);
  const partition = options.partition === undefined ? {} : { partition: partitionNumber(options.partition) };
  const signal = untilSignal();
  const { brokers, clientId } = config.kafka;
  await using groups = await GroupAdmin.open({ brokers, clientId });
  await withLog(config, async (log, schemas) => {
    const task = {
      log,
      schemas,
      groups,
      processor: processor.name,
      inputs: processor.inputs.map(({ topic }) => topic),
      outputs: outputTopics(processor),
      target,
      signal,
      ...partition,
    };
    const plan = await planReset(task);
    const carryOut = options.yes === true;
    if (options.json === true) printJson({ carriedOut: carryOut, ...plan });
    else printPlan(processor.name, plan);
    if (!carryOut) {
      throw notConfirmed();
    }
    await reset(task, plan, BigInt(Date.now()) * 1000n, ({ partition: done }) => {
      if (options.json !== true) process.stdout.write(`partition ${done}: done\n`);
    });
  });
}

function printPlan(name: string, { members, tasks }: ResetPlan): void {
  printTable(
    ['input', 'partition', 'from', 'to', 'read again', 'never read', 'state dropped'],
    tasks.flatMap(({ partition, inputs, stateEntries }) =>
      inputs.map(({ topic, start, committed, target }, i) => {
        const now = committed ?? start;
        return [
          topic,
          String(partition),
          committed === undefined ? 'not started' : String(committed),
          String(target),
          String(target < now ? now - target : 0n),
          String(target > now ? target - now : 0n),
          i === 0 ? `${stateEntries} entries` : '',
        ];
      }),
    ),
  );
  process.stdout.write(
    `\n${name} begins there with empty state. It publishes records that it reads again under the same keys. Skipped records are in no output.\n` +
      'A window that began before the place lacks the trades before it. Offsets include transaction markers.\n',
  );
  if (members.length > 0) process.stdout.write(`\nIt is running and has to be stopped first: ${members.join(', ')}\n`);
}
