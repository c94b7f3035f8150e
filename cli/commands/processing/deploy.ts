import type { Command } from 'commander';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { GroupAdmin } from '../../../core/kafka/groups.ts';
import { readAliases, setAliases } from '../../../core/operations/aliases.ts';
import { planReset, type ResetOptions, reset } from '../../../core/operations/reset.ts';
import { aliased } from '../../../core/operations/variant.ts';
import type { Processor } from '../../../core/processor/define.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { compareVariants } from '../../../proof/replay/variant.ts';
import { outputTopics, processors } from '../../processors/built-in.ts';
import { loadProcessor } from '../../processors/module.ts';
import { createTopics, type Variant, variant, variantTopics } from '../../processors/variant.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { notConfirmed } from '../../terminal/options.ts';
import { printJson, printTable } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';
import { printChecks } from '../proof/verify.ts';

interface DeployOptions {
  readonly suffix: string;
  readonly partitions?: string;
  readonly module?: string;
  readonly back?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const group = program
    .command('deploy')
    .description('run a variant of a processor beside the running version: compare, swap their readers, drop one');
  const step = (name: string, description: string): Command =>
    group
      .command(name)
      .description(description)
      .argument('[processor]', 'its name')
      .requiredOption('--suffix <suffix>', 'name of the variant, e.g. green')
      .option('--module <file>', 'module of your own processor, instead of a name')
      .option('--json', 'print JSON');
  step('start', 'create the topics of a variant; run it with: millrace run NAME --suffix SUFFIX')
    .option('--partitions <n>', 'partitions of its outputs; default: as its input')
    .action(start);
  step('diff', 'compare the newest value of each key in the outputs of both; exits with 1 on a difference').action(
    diff,
  );
  step('swap', 'give readers the outputs of the variant, by an alias; shows the plan, and acts with --yes')
    .option('--back', 'give readers the original again')
    .option('--yes', 'carry out the plan')
    .action(swap);
  step('drop', 'delete the topics of the variant; shows the plan, and acts with --yes')
    .option('--yes', 'carry out the plan')
    .action(drop);
  group
    .command('list')
    .description('show the aliases: each name and the topic that readers get for it')
    .option('--json', 'print JSON')
    .action(list);
}

async function load(config: Config, name: string | undefined, options: DeployOptions): Promise<Variant> {
  const { processor } = await loadProcessor(config, name, options.module);
  return variant(processor, options.suffix);
}

async function start(name: string | undefined, options: DeployOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const beside = await load(config, name, options);
  await using admin = await TopicAdmin.open(config.kafka);
  const input = (await admin.partitions()).get(beside.original.inputs[0].topic);
  if (input === undefined) {
    throw new MillraceError('TOPIC_MISSING', `${beside.original.inputs[0].topic} does not exist`, {
      remedy: 'create the topics with: millrace topics apply',
    });
  }
  const partitions = options.partitions === undefined ? input : Number(options.partitions);
  if (!Number.isInteger(partitions) || partitions < 1) {
    throw new MillraceError('CONFIG_INVALID', `--partitions ${options.partitions} is not a number from 1`);
  }
  const topics = variantTopics(beside, input, partitions);
  await createTopics(admin, topics);
  if (options.json === true) printJson({ name: beside.name, topics: topics.map((topic) => topic.name) });
  else {
    for (const topic of topics) process.stdout.write(`${topic.name}, ${topic.partitions} partitions\n`);
    const what = options.module === undefined ? beside.original.name : `--module ${options.module}`;
    process.stdout.write(`\nrun it with: millrace run ${what} --suffix ${beside.suffix}\n`);
  }
}

async function diff(name: string | undefined, options: DeployOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const { original, outputs } = await load(config, name, options);
  const signal = untilSignal();
  await withLog(config, async (log, schemas) => {
    const checks = [];
    for (const { topic, target } of outputs) {
      const contract = original.outputs.find((each) => each.topic === topic);
      if (contract === undefined || contract.keySchema === null) continue;
      const { keySchema, valueSchema } = contract;
      checks.push(await compareVariants(log, schemas, { topic, other: target, keySchema, valueSchema }, signal));
    }
    const ok = checks.every(({ differences }) => differences === 0);
    if (options.json === true) printJson({ ok, checks });
    else printChecks(checks);
    if (!ok) process.exitCode = 1;
  });
}

/** Built-in processors that read any of these topics. */
function readersOf(config: Config, topics: readonly string[]): readonly Processor<unknown>[] {
  return Object.values(processors)
    .map(({ make }) => make(config))
    .filter(({ inputs, tables = [] }) => [...inputs, ...tables].some(({ topic }) => topics.includes(topic)));
}

/**
 * Sets the alias and resets the readers. Their positions and their state are meaningless in another topic, so each starts at the beginning
 * with empty state. Positions are set in both topics, in the transactions that drop the state. After an interruption at any point, a reader
 * starts at the beginning of the topic that the alias gives it.
 */
async function swap(name: string | undefined, options: DeployOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const { outputs } = await load(config, name, options);
  const wanted = outputs.map(({ topic, target }) => ({ name: topic, target: options.back === true ? topic : target }));
  const names = outputs.map(({ topic }) => topic);
  const readers = readersOf(config, names);
  await using admin = await TopicAdmin.open(config.kafka);
  await requireEqualCounts(admin, readers, outputs);
  await using groups = await GroupAdmin.open(config.kafka);
  await withLog(config, async (log, schemas) => {
    const now = new Map([...(await readAliases(log, schemas))].map(([alias, { target }]) => [alias, target]));
    const members = [];
    for (const reader of readers)
      members.push(...(await groups.members(groupOf(reader.name))).map((who) => `${reader.name}: ${who}`));
    const plan = {
      aliases: wanted.map((each) => ({ ...each, now: now.get(each.name) ?? each.name })),
      startAnew: readers.map((reader) => reader.name),
      members,
    };
    if (options.json === true) printJson({ carriedOut: options.yes === true, ...plan });
    else {
      printTable(
        ['readers of', 'are given', 'instead of'],
        plan.aliases.map((each) => [each.name, each.target, each.now]),
      );
      process.stdout.write(
        `\nstart at the beginning with empty state, and publish again under the same keys: ${plan.startAnew.join(', ') || 'none'}\n` +
          'The archive and external readers do not change: they read topics by their own names.\n',
      );
    }
    confirm(options);
    for (const reader of readers) {
      const moved = aliased(reader, new Map(wanted.map((each) => [each.name, each.target])));
      const [primary, ...others] = [...moved.inputs, ...reader.inputs].map(({ topic }) => topic);
      const task: ResetOptions = {
        log,
        schemas,
        groups,
        processor: reader.name,
        inputs: [...new Set([primary as string, ...others])],
        outputs: outputTopics(reader),
        target: { kind: 'earliest' },
      };
      await reset(task, await planReset(task), BigInt(Date.now()) * 1000n);
    }
    await setAliases(log, schemas, wanted, BigInt(Date.now()) * 1000n);
  });
}

/** A task writes to the partition that it reads. So a reader's new topic must have the same number of partitions. */
async function requireEqualCounts(
  admin: TopicAdmin,
  readers: readonly Processor<unknown>[],
  outputs: Variant['outputs'],
): Promise<void> {
  const counts = await admin.partitions();
  for (const { topic, target } of outputs) {
    if (!counts.has(target)) {
      throw new MillraceError('TOPIC_MISSING', `${target} does not exist`, {
        remedy: 'begin with: millrace deploy start',
      });
    }
    const reader = readers.find(({ inputs }) => inputs.some((input) => input.topic === topic));
    if (reader === undefined || counts.get(topic) === counts.get(target)) continue;
    throw new MillraceError(
      'TOPIC_DIFFERS',
      `${reader.name} reads ${topic} with ${counts.get(topic)} partitions, and ${target} has ${counts.get(target)}`,
      {
        remedy: `first make room for it: its own outputs and state have to have ${counts.get(target)} partitions, too`,
      },
    );
  }
}

async function drop(name: string | undefined, options: DeployOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const beside = await load(config, name, options);
  await using admin = await TopicAdmin.open(config.kafka);
  await using groups = await GroupAdmin.open(config.kafka);
  const members = await groups.members(groupOf(beside.name));
  const counts = await admin.partitions();
  const topics = variantTopics(beside, 1, 1)
    .map((topic) => topic.name)
    .filter((topic) => counts.has(topic));
  await withLog(config, async (log, schemas) => {
    const targets = new Set([...(await readAliases(log, schemas)).values()].map(({ target }) => target));
    const inUse = topics.filter((topic) => targets.has(topic));
    if (inUse.length > 0) {
      throw new MillraceError('GROUP_ACTIVE', `readers use ${inUse.join(', ')} now`, {
        remedy: 'give readers another topic first: millrace deploy swap --back, or another variant',
      });
    }
  });
  if (options.json === true) printJson({ carriedOut: options.yes === true, topics, members });
  else for (const topic of topics) process.stdout.write(`delete  ${topic}\n`);
  if (members.length > 0) {
    throw new MillraceError('GROUP_ACTIVE', `${beside.name} is running: ${members.join(', ')}`, {
      remedy: 'stop every process that runs it, then run the command again',
    });
  }
  confirm(options);
  await admin.delete(topics);
  await groups.forget(groupOf(beside.name));
}

function confirm({ yes }: DeployOptions): void {
  if (yes === true) return;
  throw notConfirmed();
}

async function list(options: { json?: boolean }, command: Command): Promise<void> {
  const aliases = [...(await withLog(loadConfig(command), readAliases)).values()];
  if (options.json === true) printJson(aliases);
  else if (aliases.length === 0) process.stdout.write('no aliases: readers of each topic get the topic itself\n');
  else
    printTable(
      ['readers of', 'are given'],
      aliases.map(({ name, target }) => [name, target]),
    );
}
