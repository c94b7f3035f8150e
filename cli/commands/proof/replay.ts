import { type Command, Option } from 'commander';
import { openStore } from '../../../core/archive/s3/open.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { GroupAdmin } from '../../../core/kafka/groups.ts';
import type { Log } from '../../../core/log/log.ts';
import { parseTarget, type ResetTarget } from '../../../core/operations/reset.ts';
import { ColdLog, type ColdPart } from '../../../proof/replay/cold/log.ts';
import { openCold } from '../../../proof/replay/cold/open.ts';
import { type ReplayProgress as ReplayPosition, type ReplayResult, replay } from '../../../proof/replay/replay.ts';
import { sideTopic } from '../../../proof/replay/schemas.ts';
import { outputTopics } from '../../processors/built-in.ts';
import { loadProcessor } from '../../processors/module.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { partitionNumber } from '../../terminal/options.ts';
import { printJson, printTable, say } from '../../terminal/print.ts';
import { ProgressLine, type ProgressState } from '../../terminal/progress.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface ReplayCommandOptions {
  readonly from: string;
  readonly to: string;
  readonly partition?: string;
  readonly into?: string;
  readonly replace?: boolean;
  readonly settings?: 'then' | 'now';
  readonly fromCold?: boolean;
  readonly verify?: boolean;
  readonly module?: string;
  readonly json?: boolean;
}

/** Side topics are temporary. */
const sideRetentionMs = 7 * 86_400_000;

export function register(program: Command): void {
  program
    .command('replay')
    .description(
      'run a processor over its history again, with the present code; its own topics, state and offsets stay untouched',
    )
    .argument('[processor]', 'its name')
    .option(
      '--from <place>',
      'compare or write the outputs of the input from here on: earliest, an offset, or a time (ISO 8601)',
      'earliest',
    )
    .option('--to <place>', 'end of the input; latest: the position of the processor', 'latest')
    .option('--partition <n>', 'only this partition')
    .option(
      '--verify',
      'compare keys and values with the published records; exits with 1 on any difference. The default without --into',
    )
    .option('--into <suffix>', 'write outputs to side topics, e.g. market.candles.SUFFIX')
    .option('--replace', 'with --into: delete side topics of that name first')
    .addOption(
      new Option(
        '--settings <when>',
        'past settings from the journal, or present ones. Default: then; with --into: now',
      ).choices(['then', 'now']),
    )
    .option(
      '--from-cold',
      'read archived input from its Parquet files as far as they go, then from Kafka; for history that Kafka has deleted',
    )
    .option('--module <file>', 'module of your own processor, instead of a name')
    .option('--json', 'print JSON')
    .action(replayCommand);
}

async function replayCommand(name: string | undefined, options: ReplayCommandOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const { processor } = await loadProcessor(config, name, options.module);
  const places = { from: parseTarget(options.from), to: parseTarget(options.to) };
  const { into } = options;
  if (into !== undefined && !/^[a-z0-9][a-z0-9-]{0,30}$/.test(into)) {
    throw new MillraceError('CONFIG_INVALID', `--into ${into} is not a suffix`, {
      remedy: 'use lower-case letters, digits and dashes',
    });
  }
  const signal = untilSignal();
  const { brokers, clientId } = config.kafka;
  await withLog(config, async (log, schemas) => {
    const primary = processor.inputs[0].topic;
    await using opened = new AsyncDisposableStack();
    const groups = opened.use(await GroupAdmin.open({ brokers, clientId }));
    const store = opened.use(openStore(config.s3));
    const sources =
      options.fromCold === true ? await openCold({ log, schemas, store, processor, into, signal }) : { log, schemas };
    const cold = sources.log instanceof ColdLog ? opened.use(sources.log) : undefined;
    const from = await offsetsOf(sources.log, groups, primary, places.from);
    const to = await offsetsOf(sources.log, groups, primary, places.to);
    if (into !== undefined) {
      await using admin = await TopicAdmin.open({ brokers, clientId });
      await prepareSideTopics(admin, log, outputTopics(processor), into, options.replace === true);
    }
    const progress = options.json === true ? undefined : new ProgressLine(`replay ${processor.name}`);
    const result = await replay({
      ...sources,
      processor,
      cold: cold !== undefined,
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
    const archived = cold === undefined ? undefined : { files: cold.objects, parts: cold.parts };
    if (options.json === true) printJson({ ok: result.differences === 0, ...result, archived });
    else print(result, into, archived);
    if (result.differences > 0) process.exitCode = 1;
  });
}

/** Offsets by partition. `latest` gives the ends of the topic, but the replay stops at the processor's position. */
async function offsetsOf(log: Log, groups: GroupAdmin, topic: string, place: ResetTarget): Promise<readonly bigint[]> {
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  switch (place.kind) {
    case 'earliest':
      return starts;
    case 'latest':
      return ends;
    case 'offset':
      return ends.map(() => place.offset);
    case 'time': {
      const logged = await groups.offsetsAt(topic, place.millis);
      return log instanceof ColdLog ? await log.offsetsAt(topic, BigInt(place.millis), logged) : logged;
    }
  }
}

async function prepareSideTopics(
  admin: TopicAdmin,
  log: Log,
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
      remedy: 'choose another suffix, or use --replace to delete its side topics',
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

interface FromArchive {
  readonly files: number;
  readonly parts: readonly ColdPart[];
}

function print(result: ReplayResult, into: string | undefined, archived: FromArchive | undefined): void {
  const { processor, version, records, beats, topics, differences, examples, seconds } = result;
  say(
    `${processor} (version ${version}): ${records} records and ${beats} heartbeats replayed in ${seconds.toFixed(1)} s`,
  );
  for (const { topic, partition, from, to, records: read } of archived?.parts ?? []) {
    say(
      `${topic}/${partition}: ${read} records of offsets ${from} to ${to - 1n} from the archive, the rest from Kafka`,
    );
  }
  if (archived !== undefined) say(`${archived.files} files of the archive were read`);
  if (topics.length > 0) {
    printTable(
      ['output', 'replay gives', 'compared with published', 'hash', ...(into === undefined ? [] : ['written to'])],
      topics.map(({ topic, given, compared, hash }) => [
        topic,
        String(given),
        String(compared),
        hash.slice(0, 16),
        ...(into === undefined ? [] : [sideTopic(topic, into)]),
      ]),
    );
  }
  say(`${differences === 0 ? '✓' : '✗'} ${differences} differences`);
  for (const example of examples) say(`    ${example}`);
  if (differences > examples.length) say(`    … and ${differences - examples.length} more`);
}
