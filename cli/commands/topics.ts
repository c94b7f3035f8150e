/** `millrace topics`: the cluster's topics against the list in schemas/topics.ts. */
import type { Command } from 'commander';
import { applyTopics, planTopics, type TopicPlan } from '../../connectors/topics.ts';
import { TopicAdmin } from '../../core/kafka/admin.ts';
import { topics } from '../../schemas/topics.ts';
import { loadConfig } from '../config.ts';

export function register(program: Command): void {
  const group = program.command('topics').description('compare and create the topics that schemas/topics.ts lists');
  group
    .command('diff')
    .description('show what differs; changes nothing and exits with 1 when something does')
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => {
      const plan = await withAdmin(command, (admin) => planTopics(admin, topics));
      print(plan, command);
      if (plan.some(({ action }) => action !== 'ok')) process.exitCode = 1;
    });
  group
    .command('apply')
    .description('create missing topics and alter settings; a changed partition count is refused')
    .option('--json', 'print JSON')
    .action(async (_options: unknown, command: Command) => {
      print(await withAdmin(command, (admin) => applyTopics(admin, topics)), command);
    });
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
