/** `millrace topics`: the cluster's topics against the list in schemas/topics.ts. */
import type { Command } from 'commander';
import { applyTopics, planTopics, type TopicPlan } from '../../../connectors/definition/topics.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { processorTopics, type Topic, topics } from '../../../schemas/topics.ts';
import { importProcessor } from '../../processors/module.ts';
import { loadConfig } from '../../settings/config.ts';

export function register(program: Command): void {
  const group = program.command('topics').description('compare and create the topics that schemas/topics.ts lists');
  group
    .command('diff')
    .description('show differences; changes nothing, and exits with 1 on a difference')
    .option('--module <file>', 'topics of your own processor, instead')
    .option('--json', 'print JSON')
    .action(async (options: { module?: string }, command: Command) => {
      const plan = await withAdmin(command, async (admin) => planTopics(admin, await wanted(admin, options.module)));
      print(plan, command);
      if (plan.some(({ action }) => action !== 'ok')) process.exitCode = 1;
    });
  group
    .command('apply')
    .description('create missing topics and alter settings; a changed partition count is refused')
    .option('--module <file>', 'topics of your own processor, instead')
    .option('--json', 'print JSON')
    .action(async (options: { module?: string }, command: Command) => {
      const plan = await withAdmin(command, async (admin) => applyTopics(admin, await wanted(admin, options.module)));
      print(plan, command);
    });
}

/** The list or, with a module, the topics of the user's processor, with as many partitions as its first input. */
async function wanted(admin: TopicAdmin, module: string | undefined): Promise<readonly Topic[]> {
  if (module === undefined) return topics;
  const { name, inputs, outputs } = await importProcessor(module);
  const [{ topic: input }] = inputs;
  const partitions = (await admin.partitions()).get(input);
  if (partitions === undefined) {
    throw new MillraceError('TOPIC_MISSING', `${name} reads ${input}, which does not exist`, {
      remedy: 'create it first: the topics of the processor get its number of partitions',
    });
  }
  const names = outputs.map((output) => output.topic);
  return processorTopics(name, names, partitions);
}

async function withAdmin<T>(command: Command, work: (admin: TopicAdmin) => Promise<T>): Promise<T> {
  const config = loadConfig(command);
  await using admin = await TopicAdmin.open({ brokers: config.kafka.brokers, clientId: config.kafka.clientId });
  return await work(admin);
}

function print(plan: readonly TopicPlan[], command: Command): void {
  if (command.opts<{ json?: boolean }>().json) {
    const rows = plan.map(({ topic, action, differences }) => ({ topic: topic.name, action, differences }));
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  const width = Math.max(...plan.map(({ topic }) => topic.name.length));
  for (const { topic, action, differences } of plan) {
    const what = differences.map(({ setting, actual, wanted }) => `${setting} ${actual} → ${wanted}`).join(', ');
    const shape = `${String(topic.partitions).padStart(2)} × ${topic.cleanup.padEnd(7)}`;
    const line = `${action.padEnd(6)}  ${topic.name.padEnd(width)}  ${shape}  ${what}`;
    process.stdout.write(`${line.trimEnd()}\n`);
  }
}
