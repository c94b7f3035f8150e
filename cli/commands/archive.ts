/** `millrace archive`: what cold storage holds, as the archive itself lists it. */
import type { Command } from 'commander';
import { readDays } from '../../core/archive/days.ts';
import type { ListSources } from '../../core/archive/listing/manifested.ts';
import { readTotals } from '../../core/archive/listing/totals.ts';
import { listObjects } from '../../core/archive/objects.ts';
import { MillraceError } from '../../core/errors.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { register as registerConnector } from '../archive/connector.ts';
import { register as registerDdl } from '../archive/ddl.ts';
import { register as registerExpire } from '../archive/expire.ts';
import { archivedTopic, dayOf, listed, urlOf } from '../archive/list.ts';
import { register as registerSql } from '../archive/sql.ts';
import { printDays, readDayLines } from '../archive-days.ts';
import { loadConfig } from '../config.ts';
import { withLog } from '../log.ts';
import { printJson, printTable } from '../print.ts';
import { untilSignal } from '../signals.ts';

interface FilesOptions {
  readonly day?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const group = program.command('archive').description('the Parquet files in cold storage');
  group
    .command('files')
    .description(
      'print the exact list of files that hold a topic; reading a prefix instead can meet files of unfinished cuts',
    )
    .argument('<topic>', `one of ${archivedTopics.join(', ')}`, archivedTopic)
    .option('--day <day>', 'only files of this day, YYYY-MM-DD', dayOf)
    .option('--json', 'print JSON, with offsets and hashes')
    .action(async (topic: ArchivedTopic, options: FilesOptions, command: Command) => {
      const config = loadConfig(command);
      const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
      if (options.json === true) {
        // Manifests do not tell dead letters.
        const day = options.day === undefined ? {} : { day: options.day };
        const objects = await withLog(config, (log, schemas) => listObjects(log, schemas, topic, { ...day, signal }));
        printJson(objects.map((object) => ({ ...object, url: urlOf(config.s3, object) })));
        return;
      }
      const objects = await listed(command, [topic], options, signal);
      for (const object of objects.get(topic) ?? []) process.stdout.write(`${urlOf(config.s3, object)}\n`);
    });
  group
    .command('tree')
    .description('print files, rows and bytes of each topic by day')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }, command: Command) => {
      const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
      const branches = await withLog(loadConfig(command), (log, schemas) => readBranches({ log, schemas, signal }));
      if (options.json === true) printJson(branches);
      else printTree(branches);
    });
  group
    .command('days')
    .description('print how each day stands: open, complete or reopened, with its newest manifest')
    .argument('[topic]', `one of ${archivedTopics.join(', ')}; without it all`, archivedTopic)
    .option('--json', 'print JSON, with ranges, hashes and keys')
    .action(async (topic: ArchivedTopic | undefined, options: { json?: boolean }, command: Command) => {
      const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
      const topics = topic === undefined ? archivedTopics : [topic];
      const lines = await withLog(loadConfig(command), (log, schemas) => readDayLines(log, schemas, topics, signal));
      if (options.json === true) printJson(lines.map(({ stands, ...line }) => ({ ...line, ...stands })));
      else printDays(lines);
    });
  registerSql(group);
  registerDdl(group);
  registerConnector(group);
  registerExpire(group);
}

export interface Branch {
  readonly topic: string;
  readonly day: string;
  readonly files: number;
  readonly rows: bigint;
  readonly bytes: bigint;
}

/** One branch per topic and day that has files, in their order. */
export async function readBranches(
  sources: ListSources,
  topics: readonly ArchivedTopic[] = archivedTopics,
): Promise<readonly Branch[]> {
  const stands = await readDays(sources.log, sources.schemas, sources.signal);
  const branches: Branch[] = [];
  for (const topic of [...topics].sort()) {
    const totals = await readTotals(sources, topic, stands);
    branches.push(...totals.map(({ day, listed }) => ({ topic, day, ...listed })).filter(({ files }) => files > 0));
  }
  return branches;
}

export function printTree(branches: readonly Branch[]): void {
  if (branches.length === 0) {
    process.stdout.write('the archive is empty\n');
    return;
  }
  printTable(
    ['topic', 'day', 'files', 'rows', 'bytes'],
    branches.map(({ topic, day, files, rows, bytes }, i) => [
      branches[i - 1]?.topic === topic ? '' : topic,
      day,
      String(files),
      rows.toLocaleString('en-US'),
      bytes.toLocaleString('en-US'),
    ]),
  );
}
