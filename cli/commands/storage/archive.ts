/** `millrace archive`: the content of cold storage, from the archive's own list. */
import type { Command } from 'commander';
import { readDays } from '../../../core/archive/listing/days.ts';
import type { ListSources } from '../../../core/archive/listing/manifested.ts';
import { readTotals } from '../../../core/archive/listing/totals.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { type ArchivedTopic, archivedTopics } from '../../../schemas/topics.ts';
import { printDays, readDayLines } from '../../archive/days.ts';
import { register as registerExpire } from '../../archive/expire.ts';
import { register as registerFiles } from '../../archive/files.ts';
import { archivedTopic } from '../../archive/list.ts';
import { register as registerConnector } from '../../archive/query/connector.ts';
import { register as registerDdl } from '../../archive/query/ddl.ts';
import { register as registerSql } from '../../archive/query/sql.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { printJson, printTable } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

export function register(program: Command): void {
  const group = program.command('archive').description('the Parquet files in cold storage');
  registerFiles(group);
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
    .description('print the state of each day (open, complete, reopened or expired) and its newest manifest')
    .argument('[topic]', `one of ${archivedTopics.join(', ')}; default: all`, archivedTopic)
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

/** One branch per topic and day with files, in order. */
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
