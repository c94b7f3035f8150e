/** `millrace archive ddl`: statements with which DuckDB or Trino read the archive directly from the bucket. */
import { type Command, Option } from 'commander';
import { normalPrefix, topicFolder } from '../../../core/archive/keys.ts';
import type { ListedObject } from '../../../core/archive/listing/objects.ts';
import { duckdbSecretHint, duckdbSource, duckdbViews } from '../../../core/archive/reading/duckdb.ts';
import { trinoPreamble, trinoTables } from '../../../core/archive/reading/trino.ts';
import { urlOfKey } from '../../../core/archive/s3/open.ts';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { type ArchivedTopic, archivedTopics } from '../../../schemas/topics.ts';
import { loadConfig } from '../../settings/config.ts';
import { untilSignal } from '../../terminal/signals.ts';
import { archivedTopic, type Days, dayOf, listed, urlOf } from '../list.ts';

interface DdlOptions extends Days {
  readonly for: 'duckdb' | 'trino';
}

type Listed = ReadonlyMap<ArchivedTopic, readonly ListedObject[]>;

export function register(group: Command): void {
  group
    .command('ddl')
    .description('print statements with which DuckDB or Trino read the archive directly from the bucket')
    .addOption(new Option('--for <engine>', 'SQL dialect').choices(['duckdb', 'trino']).makeOptionMandatory())
    .argument('[topic]', `one of ${archivedTopics.join(', ')}; default: all`, archivedTopic)
    .option('--day <day>', 'DuckDB: only files of this day, YYYY-MM-DD', dayOf)
    .option('--from <day>', 'DuckDB: only files of this day and later', dayOf)
    .option('--to <day>', 'DuckDB: only files of this day and earlier', dayOf)
    .action(ddl);
}

async function ddl(topic: ArchivedTopic | undefined, options: DdlOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
  const topics = topic === undefined ? archivedTopics : [topic];
  if (options.for === 'duckdb') {
    process.stdout.write(duckdbScript(await listed(command, topics, options, signal), config));
    return;
  }
  if ([options.day, options.from, options.to].some((each) => each !== undefined)) {
    throw new MillraceError('CONFIG_INVALID', 'Trino reads whole trees of files, so days do not limit them', {
      remedy: 'leave out --day, --from and --to, and filter on year, month and day in the query',
    });
  }
  const objects = await listed(command, topics, {}, signal);
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: config.kafka.clientId });
  process.stdout.write(trinoScript(objects, config, await log.clusterId()));
}

/** Views over exactly the listed objects. */
export function duckdbScript(listed: Listed, { s3 }: Pick<Config, 's3'>): string {
  const parts = [...listed].map(([topic, objects]) => {
    const urls = objects.map((object) => urlOf(s3, object));
    return `-- ${contents(topic, objects)}\n${duckdbViews(topic, duckdbSource(topic, urls))}`;
  });
  return `-- Made by millrace archive ddl --for duckdb, over exactly the files that are listed now; make it anew to see more.
${
  s3.directory === ''
    ? `${duckdbSecretHint(s3)}
`
    : ''
}-- Times are UTC, and are shown so.
SET TimeZone = 'UTC';

${parts.join('\n')}`;
}

/** @param epoch of the running cluster, for topics without listed objects */
export function trinoScript(listed: Listed, { s3, parquet }: Pick<Config, 's3' | 'parquet'>, epoch: string): string {
  const parts = [...listed].map(([topic, objects]) => {
    const trees = new Set(objects.map(({ key }) => key.slice(0, key.indexOf('/year=') + 1)));
    if (trees.size === 0) trees.add(topicFolder({ prefix: normalPrefix(parquet.topicsDir), epoch, topic }));
    const urls = [...trees].map((tree) => urlOfKey(s3, tree));
    return `-- ${contents(topic, objects)}\n${trinoTables(topic, urls)}`;
  });
  return `-- Made by millrace archive ddl --for trino, for a catalog named hive with the bucket's keys in its properties.\n${trinoPreamble}${parts.join('\n')}`;
}

function contents(topic: ArchivedTopic, objects: readonly ListedObject[]): string {
  const rows = objects.reduce((sum, object) => sum + object.rows, 0n);
  return `${topic}: ${objects.length} files, ${rows.toLocaleString('en-US')} rows`;
}
