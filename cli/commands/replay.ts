import { type Command, Option } from 'commander';
import { MillraceError } from '../../core/errors.ts';
import { TopicAdmin } from '../../core/kafka/admin.ts';
import { GroupAdmin } from '../../core/kafka/groups.ts';
import type { KafkaLog } from '../../core/kafka/log.ts';
import { parseTarget, type ResetTarget } from '../../core/operations/reset.ts';
import { type Progress as ReplayPosition, type ReplayResult, replay } from '../../proof/replay/replay.ts';
import { sideTopic } from '../../proof/replay/schemas.ts';
import { loadConfig } from '../config.ts';
import { withLog } from '../log.ts';
import { loadProcessor } from '../module.ts';
import { partitionNumber } from '../options.ts';
import { printJson, printTable } from '../print.ts';
import { outputTopics } from '../processors.ts';
import { Progress, type ProgressState } from '../progress.ts';
import { untilSignal } from '../signals.ts';

interface ReplayCommandOptions {
  readonly from: string;
  readonly to: string;
  readonly partition?: string;
  readonly into?: string;
  readonly replace?: boolean;
  readonly settings?: 'then' | 'now';
  readonly verify?: boolean;
  readonly module?: string;
  readonly json?: boolean;
}

/** Side topics are for looking at, not for keeping. */
const sideRetentionMs = 7 * 86_400_000;

export function register(program: Command): void {
  program
    .command('replay')
    .description(
      'run a processor over its history again, with the code of now; its own topics, state and offsets stay untouched',
    )
    .argument('[processor]', 'its name')
    .option(
      '--from <place>',
      'compare or write what the input from here on causes: earliest, an offset, or a time (ISO 8601)',
      'earliest',
    )
    .option('--to <place>', 'up to here: latest is where the processor is', 'latest')
    .option('--partition <n>', 'only this partition')
    .option(
      '--verify',
      'compare keys and values with what was published; exits with 1 on any difference. The default without --into',
    )
    .option('--into <suffix>', 'write outputs to side topics, e.g. market.candles.SUFFIX')
    .option('--replace', 'with --into: delete side topics of that name first')
    .addOption(
      new Option(
        '--settings <when>',
        'those of then, as the journal has them, or those of now. Default: then, with --into now',
      ).choices(['then', 'now']),
    )
    .option('--module <file>', 'your own processor, instead of a name')
    .option('--json', 'print JSON')
    .action(replayCommand);
}

async function replayCommand(name: string | undefined, options: ReplayCommandOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const { processor } = await loadProcessor(config, name, options.module);
  const places = { from: parseTarget(options.from), to: parseTarget(options.to) };
  const { into } = options;
  if (into !== undefined && !/^[a-z0-9][a-z0-9-]{0,30}$/.test(into)) {
    throw new MillraceError('CONFIG_INVALID', `--into ${into} is no suffix`, {
      remedy: 'use lower-case letters, digits and dashes',
    });
  }
  const signal = untilSignal();
  const { brokers, clientId } = config.kafka;
  await withLog(config, async (log, schemas) => {
    const primary = processor.inputs[0].topic;
    await using groups = await GroupAdmin.open({ brokers, clientId });
    const from = await offsetsOf(log, groups, primary, places.from);
    const to = await offsetsOf(log, groups, primary, places.to);
    if (into !== undefined) {
      await using admin = await TopicAdmin.open({ brokers, clientId });
      await prepareSideTopics(admin, log, outputTopics(processor), into, options.replace === true);
    }
    const progress = options.json === true ? undefined : new Progress(`replay ${processor.name}`);
    const result = await replay({
      log,
      schemas,
      processor,
      from,
      to,
      verify: options.verify ?? into === undefined,
      settings: options.settings ?? (into === undefined ? 'then' : 'now'),
      signal,
      onProgress: (each) => progress?.update(shown(each)),
      ...(into === undefined ? {} : { into }),
      ...(options.partition === undefined ? {} : { partition: partitionNumber(options.partition) }),
    });
    progress?.end();
    if (options.json === true) printJson({ ok: result.differences === 0, ...result });
    else print(result, into);
    if (result.differences > 0) process.exitCode = 1;
  });
}

/** By partition. `latest` is open: the replay ends where the processor is. */
async function offsetsOf(
  log: KafkaLog,
  groups: GroupAdmin,
  topic: string,
  place: ResetTarget,
): Promise<readonly bigint[]> {
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  switch (place.kind) {
    case 'earliest':
      return starts;
    case 'latest':
      return ends;
    case 'offset':
      return ends.map(() => place.offset);
    case 'time':
      return await groups.offsetsAt(topic, place.millis);
  }
}

async function prepareSideTopics(
  admin: TopicAdmin,
  log: KafkaLog,
  topics: readonly string[],
  suffix: string,
  replace: boolean,
): Promise<void> {
  const names = topics.map((topic) => sideTopic(topic, suffix));
  const present = new Map(await admin.partitions());
  if (replace) {
    await admin.delete(names);
    for (const name of names) present.delete(name);
  }
  for (const name of names) {
    if (!present.has(name)) continue;
    const [starts, ends] = await Promise.all([log.starts(name), log.ends(name)]);
    if (ends.every((end, i) => end === starts[i])) continue;
    throw new MillraceError('CONFIG_INVALID', `${name} has records already`, {
      remedy: 'choose another suffix, or say --replace to delete the side topics of this one',
    });
  }
  const settings = { 'cleanup.policy': 'delete', 'retention.ms': String(sideRetentionMs), 'compression.type': 'zstd' };
  await admin.create(
    topics.flatMap((topic, i) => {
      const name = names[i] as string;
      return present.has(name) ? [] : [{ name, partitions: present.get(topic) ?? 1, settings }];
    }),
  );
}

function shown({ partition, partitions, records, position, to }: ReplayPosition): ProgressState {
  const share = to === 0n ? 1 : Math.min(1, Number(position) / Number(to));
  return { done: partition + share, total: partitions, text: `partition ${partition}, ${records} records` };
}

function print(result: ReplayResult, into: string | undefined): void {
  const { processor, version, records, beats, topics, differences, examples, seconds } = result;
  const say = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  say(
    `${processor} (version ${version}): ${records} records and ${beats} heartbeats replayed in ${seconds.toFixed(1)} s`,
  );
  if (topics.length > 0) {
    printTable(
      ['output', 'replay gives', 'compared with published', ...(into === undefined ? [] : ['written to'])],
      topics.map(({ topic, given, compared }) => [
        topic,
        String(given),
        String(compared),
        ...(into === undefined ? [] : [sideTopic(topic, into)]),
      ]),
    );
  }
  say(`${differences === 0 ? '✓' : '✗'} ${differences} differences`);
  for (const example of examples) say(`    ${example}`);
  if (differences > examples.length) say(`    … and ${differences - examples.length} more`);
}
