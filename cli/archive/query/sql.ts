/** `millrace archive sql`: SQL over exactly the listed files. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { Copies, type FetchProgress } from '../../../core/archive/reading/copies.ts';
import { ArchiveQuery, type QueryResult, topicsToFetch } from '../../../core/archive/reading/query.ts';
import { namings, viewNames } from '../../../core/archive/reading/views.ts';
import { openStore } from '../../../core/archive/s3/open.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { cacheDir, loadConfig } from '../../settings/config.ts';
import { ProgressLine } from '../../terminal/progress.ts';
import { untilSignal } from '../../terminal/signals.ts';
import { type Days, dayOf, listed } from '../list.ts';
import { type Format, type PrintResult, printResult } from './output.ts';

interface SqlOptions extends Days {
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly limit?: number;
}

export function register(group: Command): void {
  group
    .command('sql')
    .description(
      `run one SELECT of DuckDB over exactly the listed files: ${viewNames.join(', ')}, or a topic by its own name; writes nothing`,
    )
    .argument('<statement>', 'the SELECT; - reads it from standard input')
    .option('--day <day>', 'only files of this day, YYYY-MM-DD', dayOf)
    .option('--from <day>', 'only files of this day and later', dayOf)
    .option('--to <day>', 'only files of this day and earlier', dayOf)
    .option('--limit <rows>', 'maximum number of rows to print', rowsOf)
    .option('--json', 'print JSON; 64-bit integers, decimals and times as text')
    .addOption(new Option('--csv', 'print CSV; null is an empty cell, an empty text is ""').conflicts('json'))
    .action(sql);
}

async function sql(given: string, options: SqlOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
  const statement = given === '-' ? await text(process.stdin) : given;
  const topics = topicsToFetch(statement);
  const objects = await listed(command, topics, options, signal);
  await using store = openStore(config.s3);
  const copies = new Copies({ store, dir: join(cacheDir(), 'archive') });
  const files = new Map<ArchivedTopic, readonly string[]>();
  const progress = new ProgressLine('fetching');
  try {
    for (const [topic, found] of objects) {
      const onProgress = (at: FetchProgress): void => report(progress, at);
      files.set(
        topic,
        (await copies.fetch(found, { signal, onProgress })).map(({ path }) => path),
      );
    }
  } finally {
    progress.end();
  }
  const scratchDir = mkdtempSync(join(tmpdir(), 'millrace-sql-'));
  // Also runs if the reader of the output closes it and the process ends at once.
  process.once('exit', () => rmSync(scratchDir, { recursive: true, force: true }));
  await using query = await ArchiveQuery.open({ files, scratchDir });
  const result = await query.run(statement, signal);
  const format: Format = options.json === true ? 'json' : options.csv === true ? 'csv' : 'table';
  const printed = await printResult(result, format, options.limit, process.stdout);
  for (const line of notes(statement, result, printed, files, options)) process.stderr.write(`${line}\n`);
  await copies.prune();
}

function report(progress: ProgressLine, { objects, totalObjects, bytes, totalBytes }: FetchProgress): void {
  // A few files are fetched before a progress line could be read.
  if (totalObjects < 8) return;
  const megabytes = (count: bigint): string => (Number(count) / 1e6).toFixed(1);
  progress.update({
    done: objects,
    total: totalObjects,
    text: `${objects} of ${totalObjects} files, ${megabytes(bytes)} of ${megabytes(totalBytes)} MB`,
  });
}

/** Notes about the rows above, for standard error. */
export function notes(
  statement: string,
  { columns }: Pick<QueryResult, 'columns'>,
  { rows, more }: PrintResult,
  files: ReadonlyMap<ArchivedTopic, readonly string[]>,
  days: Days,
): string[] {
  const lines = [`${rows} ${rows === 1 ? 'row' : 'rows'}${more ? ', and there are more (--limit)' : ''}`];
  const read = [...files].map(([topic, { length }]) => `${length} files of ${topic}`);
  if (read.length > 0) lines[0] += ` from ${read.join(', ')}`;
  const floats = columns.filter(({ inexact }) => inexact).map(({ name }) => name);
  if (floats.length > 0) {
    const one = floats.length === 1;
    lines.push(
      `note: ${floats.join(', ')} ${one ? 'is' : 'are'} binary floating point, computed by the statement (for example by avg or /); the stored values are exact`,
    );
  }
  const limited = days.day !== undefined || days.from !== undefined || days.to !== undefined;
  const { newest } = namings['cdc.public.trades'];
  if (limited && new RegExp(`\\b${newest}\\b`, 'i').test(statement)) {
    lines.push(
      `note: ${newest} knows the changes in these days' files only; an update may have moved a trade to another day`,
    );
  }
  return lines;
}

function rowsOf(given: string): number {
  if (!/^\d{1,15}$/.test(given)) throw new InvalidArgumentError('Give a whole number of rows.');
  return Number(given);
}
