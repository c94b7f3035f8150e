/** `millrace repair`: puts objects of the archive back that are gone or damaged, byte for byte. */
import { tmpdir } from 'node:os';
import type { Command } from 'commander';
import { MillraceError } from '../../core/errors.ts';
import { openStore } from '../../core/s3/open.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { rebuildCompacted } from '../../sinks/compaction/rebuild.ts';
import { examineDays, repairDay } from '../../sinks/manifests/repair.ts';
import { type Examined, examine } from '../../sinks/parquet/repair/examine.ts';
import { type Outcome, repair } from '../../sinks/parquet/repair/repair.ts';
import { archivedTopic, dayOf } from '../archive/list.ts';
import { loadConfig } from '../config.ts';
import { withLog } from '../log.ts';
import { printJson, printTable } from '../print.ts';
import { Progress } from '../progress.ts';
import { untilSignal } from '../signals.ts';

interface RepairCommandOptions {
  readonly day?: string;
  readonly object?: readonly string[];
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command('repair')
    .description(
      'find listed files that are gone from the bucket or damaged, and put them back byte for byte, from the log; good files are never touched',
    )
    .argument('[topic]', `one of ${archivedTopics.join(', ')}; without it all`, archivedTopic)
    .option('--day <day>', 'only files of this day, YYYY-MM-DD', dayOf)
    .option('--object <key...>', 'only these files')
    .option('--dry-run', 'show what would be done, and change nothing')
    .option('--yes', 'do it')
    .option('--json', 'print JSON')
    .action(repairCommand);
}

async function repairCommand(
  topic: ArchivedTopic | undefined,
  options: RepairCommandOptions,
  command: Command,
): Promise<void> {
  const config = loadConfig(command);
  const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
  await using store = openStore(config.s3);
  await withLog(config, async (log, schemas) => {
    const sources = { log, schemas, store, signal };
    const topics = topic === undefined ? archivedTopics : [topic];
    const quiet = options.json === true;
    const reading = new Progress('reading');
    const examined = await examine({
      ...sources,
      topics,
      day: options.day,
      keys: options.object === undefined ? undefined : new Set(options.object.map(keyOf)),
      onProgress: ({ done, total, bad }) => {
        if (!quiet) reading.update({ done, total, text: `${done} of ${total} files, ${bad} to repair` });
      },
    });
    reading.end();
    const days = options.object === undefined ? await examineDays(sources, topics, options.day) : [];
    const plan = { ...examined, manifests: days.map(({ key, state }) => ({ key, state })) };
    if (!quiet) printPlan(plan);
    const isDue = examined.findings.length + days.length > 0;
    if (options.dryRun === true || !isDue) {
      if (quiet) printJson({ ok: !isDue, plan: shown(plan) });
      if (isDue) process.exitCode = 1;
      return;
    }
    if (options.yes !== true) {
      if (quiet) printJson({ ok: false, plan: shown(plan) });
      throw new MillraceError('CONFIRMATION_NEEDED', 'nothing was changed yet', {
        remedy: 'say --yes to repair what the plan shows',
      });
    }
    const mending = new Progress('repairing');
    const outcomes: Outcome[] = [
      ...(await repair({
        ...sources,
        findings: examined.findings,
        compacted: (object, inputs) => rebuildCompacted(sources, object, inputs, tmpdir()),
        onProgress: ({ done, total, key }) => {
          if (!quiet) mending.update({ done, total, text: key });
        },
      })),
    ];
    for (const day of days) {
      await repairDay(sources, day);
      outcomes.push({ key: day.key, result: 'repaired' });
    }
    mending.end();
    const ok = outcomes.every(({ result }) => result !== 'failed');
    if (quiet) {
      const results = outcomes.map(({ key, result, error }) => ({
        key,
        result,
        why: error?.message,
        remedy: error?.remedy,
      }));
      printJson({ ok, plan: shown(plan), outcomes: results });
    } else printOutcomes(outcomes);
    if (!ok) process.exitCode = 1;
  });
}

interface Plan extends Examined {
  readonly manifests: readonly { readonly key: string; readonly state: string }[];
}

function shown({ objects, bytes, findings, manifests }: Plan): object {
  const found = findings.map(({ object, state, source, why }) => ({
    key: object.key,
    state,
    source,
    why,
    rows: object.rows,
    bytes: object.bytes,
  }));
  return { objects, bytes, findings: found, manifests };
}

function printPlan({ objects, findings, manifests }: Plan): void {
  const bad = findings.length + manifests.length;
  if (bad === 0) {
    process.stdout.write(`✓ ${objects} files are what their records say, and so are the manifests\n`);
    return;
  }
  printTable(
    ['file', 'is', 'made again from', 'rows'],
    [
      ...findings.map(({ object, state, source, why }) => [
        object.key,
        state,
        source === 'none' ? `nothing: ${why}` : source === 'log' ? 'the log' : 'what was compacted',
        String(object.rows),
      ]),
      ...manifests.map(({ key, state }) => [key, state, 'the list', '']),
    ],
  );
}

function printOutcomes(outcomes: readonly Outcome[]): void {
  const words = {
    repaired: '✓ repaired',
    good: '✓ is good already',
    unlisted: '✓ is listed no more',
    failed: '✗ not repaired',
  } as const;
  for (const { key, result, error } of outcomes) {
    process.stdout.write(`${words[result]}: ${key}\n`);
    if (error !== undefined) process.stdout.write(`    ${error.message}\n    ${error.remedy ?? ''}\n`);
  }
}

/** A key, or the URL that `millrace archive files` prints. */
function keyOf(text: string): string {
  return text.replace(/^s3a?:\/\/[^/]+\//, '');
}
