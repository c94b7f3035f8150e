/** `millrace archive`: what cold storage holds, as the archive itself lists it. */
import type { Command } from 'commander';
import { MillraceError } from '../../core/errors.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { register as registerConnector } from '../archive/connector.ts';
import { register as registerDdl } from '../archive/ddl.ts';
import { register as registerExpire } from '../archive/expire.ts';
import { archivedTopic, type Days, dayOf, listed, urlOf } from '../archive/list.ts';
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
      const objects = await list(command, [topic], options.day === undefined ? {} : { day: options.day });
      if (options.json === true) {
        printJson(objects.map((object) => ({ ...object, url: urlOf(config.s3, object) })));
        return;
      }
      for (const object of objects) process.stdout.write(`${urlOf(config.s3, object)}\n`);
    });
  group
    .command('tree')
    .description('print files, rows and bytes of each topic by day')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }, command: Command) => {
      const branches = byDay(await list(command, archivedTopics));
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
  files: number;
  rows: bigint;
  bytes: bigint;
}

/** One branch per topic and day, in their order. */
export function byDay(objects: readonly ArchiveObject[]): Branch[] {
  const branches = new Map<string, Branch>();
  for (const { topic, day, rows, bytes } of objects) {
    const id = `${topic}/${day}`;
    const branch = branches.get(id) ?? { topic, day, files: 0, rows: 0n, bytes: 0n };
    branch.files++;
    branch.rows += rows;
    branch.bytes += bytes;
    branches.set(id, branch);
  }
  return [...branches].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, branch]) => branch);
}

async function list(command: Command, topics: readonly ArchivedTopic[], days: Days = {}): Promise<ArchiveObject[]> {
  const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
  return [...(await listed(command, topics, days, signal)).values()].flat();
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
