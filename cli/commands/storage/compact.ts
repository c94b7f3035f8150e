/** `millrace compact`: merges small files of complete days, and removes replaced files from the bucket. */
import type { Command } from 'commander';
import { MillraceError } from '../../../core/base/errors.ts';
import { type ArchivedTopic, archivedTopics } from '../../../schemas/topics.ts';
import {
  type CompactionProgress,
  type CompactionResult,
  Compactor,
  type FailedCompaction,
} from '../../../sinks/compaction/compactor.ts';
import { readSweepable, type Sweepable, sweep } from '../../../sinks/compaction/expire/sweep.ts';
import { readDue } from '../../../sinks/compaction/plan/due.ts';
import { sumOf } from '../../../sinks/compaction/plan/groups.ts';
import { archivedTopic, type Days, dayOf, daysOf } from '../../archive/list.ts';
import { type ArchivePlace, withArchive } from '../../archive/place.ts';
import { count, printJson, printTable, say } from '../../terminal/print.ts';
import { ProgressLine } from '../../terminal/progress.ts';

interface CompactOptions extends Days {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command('compact')
    .description(
      'merge small files of complete days, sorted by key and time, and remove replaced files after the grace of readers; safe while everything runs, and repeatable',
    )
    .argument('[topic]', `one of ${archivedTopics.join(', ')}; default: all`, archivedTopic)
    .option('--day <day>', 'only this day, YYYY-MM-DD', dayOf)
    .option('--from <day>', 'only this day and later', dayOf)
    .option('--to <day>', 'only this day and earlier', dayOf)
    .option('--dry-run', 'show the plan; change nothing')
    .option('--json', 'print JSON')
    .action(compact);
}

async function compact(topic: ArchivedTopic | undefined, options: CompactOptions, command: Command): Promise<void> {
  const topics = topic === undefined ? archivedTopics : [topic];
  const within = daysOf(options);
  await withArchive(command, async (place) => {
    if (options.dryRun === true) await show(place, topics, within, options);
    else await carryOut(place, topics, within, options);
  });
}

type Within = (day: string) => boolean;

async function show(place: ArchivePlace, topics: readonly ArchivedTopic[], within: Within, { json }: CompactOptions) {
  const rows = [];
  for (const topic of topics) {
    for await (const { groups } of readDue(place, topic, within, place.settings)) {
      rows.push(...groups.map(({ inputs, ...group }) => ({ ...group, files: inputs.length, ...sumOf(inputs) })));
    }
  }
  const swept = await sweepable(place, topics);
  if (json === true) {
    printJson({ carriedOut: false, groups: rows, ...filesOf(swept) });
    return;
  }
  if (rows.length === 0) say('nothing to compact');
  else {
    printTable(
      ['topic', 'day', 'partition', 'files', 'rows', 'bytes'],
      rows.map(({ topic, day, partition, files, rows: n, bytes }) => [
        topic,
        day,
        `${partition}`,
        `${files}`,
        count(n),
        count(bytes),
      ]),
    );
  }
  saySwept(swept, 'could be removed');
}

async function carryOut(
  place: ArchivePlace,
  topics: readonly ArchivedTopic[],
  within: Within,
  { json }: CompactOptions,
): Promise<void> {
  const progress = new ProgressLine('compacting');
  let outcome: CompactionResult;
  try {
    await using compactor = await Compactor.open({
      ...place,
      onProgress: (at) => progress.update({ done: at.done, total: at.total, text: textOf(at) }),
    });
    const { done, failed } = await compactor.compact(topics, within);
    const { resumed } = compactor;
    outcome = { done: [...resumed.done, ...done], failed: [...resumed.failed, ...failed] };
  } finally {
    progress.end();
  }
  const swept = await sweepable(place, topics);
  await remove(place, swept);
  const { done, failed } = outcome;
  if (json === true) {
    const left = failed.map(({ error, ...group }) => ({ ...group, code: error.code, message: error.message }));
    printJson({ carriedOut: true, groups: done, failed: left, ...filesOf(swept) });
  } else {
    if (done.length === 0 && failed.length === 0) say('nothing to compact');
    else if (done.length > 0) {
      printTable(
        ['topic', 'day', 'partition', 'rows', 'files before', 'after', 'bytes before', 'after'],
        done.map(({ topic, day, partition, rows, before, after }) => [
          topic,
          day,
          `${partition}`,
          count(rows),
          `${before.files}`,
          `${after.files}`,
          count(before.bytes),
          count(after.bytes),
        ]),
      );
    }
    for (const each of failed)
      say(`unchanged: ${each.topic} ${each.day} partition ${each.partition}: ${each.error.message}`);
    saySwept(swept, 'were removed');
  }
  if (failed.length > 0) throw leftAsTheyAre(failed);
}

function leftAsTheyAre(failed: readonly FailedCompaction[]): MillraceError {
  const [{ error }] = failed as [FailedCompaction];
  const what = failed.length === 1 ? 'one day of a partition was' : `${failed.length} days of partitions were`;
  return new MillraceError(error.code, `${what} left unchanged; everything else is done`, {
    cause: error,
    ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
  });
}

async function sweepable(place: ArchivePlace, topics: readonly ArchivedTopic[]): Promise<readonly Sweepable[]> {
  const found: Sweepable[] = [];
  for (const topic of topics) found.push(await readSweepable(place, topic));
  return found;
}

async function remove({ store, signal }: ArchivePlace, swept: readonly Sweepable[]): Promise<void> {
  const objects = swept.flatMap(({ removable }) => removable);
  const progress = new ProgressLine('removing');
  try {
    await sweep(store, objects, signal, (removed) =>
      progress.update({ done: removed, total: objects.length, text: `${removed} of ${objects.length} files` }),
    );
  } finally {
    progress.end();
  }
}

function filesOf(swept: readonly Sweepable[]) {
  const sum = (which: 'removable' | 'waiting') => {
    const objects = swept.flatMap((each) => each[which]);
    return { files: objects.length, bytes: objects.reduce((total, { bytes }) => total + bytes, 0) };
  };
  return { removed: sum('removable'), waiting: sum('waiting') };
}

function saySwept(swept: readonly Sweepable[], what: string): void {
  const { removed, waiting } = filesOf(swept);
  say(`${removed.files} replaced files (${count(removed.bytes)} bytes) ${what}`);
  if (waiting.files > 0) {
    say(
      `${waiting.files} (${count(waiting.bytes)} bytes) wait until a manifest omits them and the grace of readers is over`,
    );
  }
}

function textOf({ group: { topic, day, partition }, step, done, total }: CompactionProgress): string {
  const unit = step === 'rewriting' ? 'rows' : 'files';
  return `${topic} ${day} partition ${partition}: ${step}, ${count(done)} of ${count(total)} ${unit}`;
}
