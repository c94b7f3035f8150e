/** `millrace archive expire`: expires old days. */
import type { Command } from 'commander';
import { MillraceError } from '../../core/base/errors.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { Compactor } from '../../sinks/compaction/compactor.ts';
import { type Expiry, readExpiries } from '../../sinks/compaction/expire/expiry.ts';
import { loadConfig } from '../settings/config.ts';
import { notConfirmed } from '../terminal/options.ts';
import { count, printJson, printTable, say } from '../terminal/print.ts';
import { ProgressLine } from '../terminal/progress.ts';
import { archivedTopic, dayOf } from './list.ts';
import { type ArchivePlace, withArchive } from './place.ts';

interface ExpireOptions {
  readonly before?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function register(group: Command): void {
  group
    .command('expire')
    .description('expire old days; shows the plan, and acts with --yes. A later millrace compact removes the files')
    .argument('[topic]', `one of ${archivedTopics.join(', ')}; default: all`, archivedTopic)
    .option('--before <day>', 'days before this one, YYYY-MM-DD; default: by compact.retentionDays', dayOf)
    .option('--dry-run', 'show the plan; change nothing, exit with 0')
    .option('--yes', 'carry out the plan')
    .option('--json', 'print JSON')
    .action(expire);
}

async function expire(topic: ArchivedTopic | undefined, options: ExpireOptions, command: Command): Promise<void> {
  const topics = topic === undefined ? archivedTopics : [topic];
  const before = options.before ?? firstKeptDay(loadConfig(command).compact.retentionDays, Date.now());
  const carryOut = options.yes === true && options.dryRun !== true;
  await withArchive(command, async (place) => {
    const { expiries, kept } = await readExpiries(place, topics, (day) => day < before);
    const rows = carryOut ? await give(place, expiries) : expiries;
    if (options.json === true) printJson({ carriedOut: carryOut, before, days: rows, kept });
    else {
      if (rows.length > 0) {
        printTable(
          ['topic', 'day', 'files', 'rows', 'bytes', 'row hash'],
          rows.map((row) => [row.topic, row.day, `${row.files}`, count(row.rows), count(row.bytes), row.rowHash]),
        );
      }
      for (const { topic: name, day, state } of kept)
        say(`kept: ${name} ${day} is ${state ?? 'without a manifest'}, not COMPLETE`);
      say(`${rows.length} days before ${before} ${carryOut ? 'have expired' : 'would expire'}`);
    }
    if (carryOut || options.dryRun === true || rows.length === 0) return;
    throw notConfirmed('nothing has expired yet', '; there is no way back once the files are removed');
  });
}

async function give(place: ArchivePlace, expiries: readonly Expiry[]): Promise<readonly Expiry[]> {
  const progress = new ProgressLine('expiring');
  try {
    await using compactor = await Compactor.open(place);
    return await compactor.expire(expiries, (done) =>
      progress.update({ done, total: expiries.length, text: `${done} of ${expiries.length} days` }),
    );
  } finally {
    progress.end();
  }
}

/**
 * The first day to keep.
 *
 * @param retentionDays number of days to keep, today included
 * @throws MillraceError CONFIG_INVALID: all days are kept.
 */
export function firstKeptDay(retentionDays: number, nowMs: number): string {
  if (retentionDays === 0) {
    throw new MillraceError('CONFIG_INVALID', 'no day is old: compact.retentionDays is 0', {
      remedy: 'give --before DAY, or set MILLRACE_COMPACT_RETENTION_DAYS',
    });
  }
  return new Date(nowMs - (retentionDays - 1) * 86_400_000).toISOString().slice(0, 10);
}
