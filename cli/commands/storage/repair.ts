/**
 * `millrace repair`: restores missing or damaged objects of the archive byte for byte, and gives up those that nothing can produce again.
 */
import { tmpdir } from 'node:os';
import type { Command } from 'commander';
import { capturedTables, topicOf } from '../../../connectors/recapture/rows/tables.ts';
import { lostOfTables } from '../../../connectors/refill/refill.ts';
import type { ListedObject } from '../../../core/archive/listing/objects.ts';
import type { Config } from '../../../core/base/config.ts';
import { type ArchivedTopic, archivedTopics } from '../../../schemas/topics.ts';
import { Compactor } from '../../../sinks/compaction/compactor.ts';
import { compactedOf, rebuildCompacted } from '../../../sinks/compaction/rewrite/rebuild.ts';
import { examineDays, repairDay } from '../../../sinks/manifests/repair.ts';
import { type Examined, examine, type ObjectFinding } from '../../../sinks/parquet/repair/examine.ts';
import { lostOf, type RepairResult, repair } from '../../../sinks/parquet/repair/repair.ts';
import { archivedTopic, dayOf } from '../../archive/list.ts';
import { type ArchivePlace, withArchive } from '../../archive/place.ts';
import { printRefilled, printRefillPlan, refillFromPostgres } from '../../capture/refill.ts';
import { loadConfig } from '../../settings/config.ts';
import { notConfirmed } from '../../terminal/options.ts';
import { printJson, printTable } from '../../terminal/print.ts';
import { ProgressLine } from '../../terminal/progress.ts';

interface RepairCommandOptions {
  readonly day?: string;
  readonly object?: readonly string[];
  readonly giveUp?: boolean;
  readonly fromPostgres?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command('repair')
    .description(
      'find listed files that are missing or damaged in the bucket, and restore them byte for byte from the log; good files are never changed',
    )
    .argument('[topic]', `one of ${archivedTopics.join(', ')}; default: all`, archivedTopic)
    .option('--day <day>', 'only files of this day, YYYY-MM-DD', dayOf)
    .option('--object <key...>', 'only these files')
    .option('--give-up', 'record files that nothing can produce again as lost; they are no longer listed')
    .option(
      '--from-postgres',
      'also give up, and read rows of all lost files again from Postgres; stops the connector meanwhile',
    )
    .option('--dry-run', 'show the plan; change nothing')
    .option('--yes', 'carry out the plan')
    .option('--json', 'print JSON')
    .action(repairCommand);
}

async function repairCommand(
  topic: ArchivedTopic | undefined,
  options: RepairCommandOptions,
  command: Command,
): Promise<void> {
  const config = loadConfig(command);
  await withArchive(command, async (place) => {
    const topics = topic === undefined ? archivedTopics : [topic];
    const quiet = options.json === true;
    const reading = new ProgressLine('reading');
    const examined = await examine({
      ...place,
      topics,
      day: options.day,
      keys: options.object === undefined ? undefined : new Set(options.object.map(keyOf)),
      compactedOf: (object) => compactedOf(place, object),
      onProgress: ({ done, total, bad }) => {
        if (!quiet) reading.update({ done, total, text: `${done} of ${total} files, ${bad} to repair` });
      },
    });
    reading.end();
    const days = options.object === undefined ? await examineDays(place, topics, options.day) : [];
    const toRefill = options.fromPostgres === true ? await lostForRefill(place, config, examined.findings) : [];
    const plan = { ...examined, manifests: days.map(({ key, state }) => ({ key, state })), toRefill };
    const givesUp = options.giveUp === true || options.fromPostgres === true;
    if (!quiet) {
      printPlan(plan, givesUp);
      if (toRefill.length > 0) printRefillPlan(toRefill);
    }
    const isDue = examined.findings.length + days.length + toRefill.length > 0;
    if (options.dryRun === true || !isDue) {
      if (quiet) printJson({ ok: !isDue, plan: shown(plan) });
      if (isDue) process.exitCode = 1;
      return;
    }
    if (options.yes !== true) {
      if (quiet) printJson({ ok: false, plan: shown(plan) });
      throw notConfirmed();
    }
    const outcomes = [...(await mend(place, examined.findings, quiet))];
    for (const day of days) {
      await repairDay(place, day);
      outcomes.push({ key: day.key, result: 'repaired' });
    }
    const told = givesUp ? await giveUp(place, examined.findings, outcomes) : outcomes;
    const refilled = toRefill.length === 0 ? undefined : await refillFromPostgres({ ...place, config, quiet });
    const ok = told.every(({ result }) => result !== 'failed');
    if (quiet) {
      const results = told.map(({ key, result, error }) => ({
        key,
        result,
        why: error?.message,
        remedy: error?.remedy,
      }));
      printJson({ ok, plan: shown(plan), outcomes: results, ...(refilled && { refilled }) });
    } else {
      printOutcomes(told);
      if (refilled !== undefined) printRefilled(refilled);
    }
    if (!ok) process.exitCode = 1;
  });
}

/** Objects of captured tables that are lost, and those that this run will give up. */
async function lostForRefill(
  place: ArchivePlace,
  { capture: { prefix } }: Config,
  findings: readonly ObjectFinding[],
): Promise<readonly ListedObject[]> {
  const lost = [...(await lostOfTables({ ...place, prefix })).values()].flat();
  const topics = capturedTables.map((table) => topicOf(prefix, table));
  const next = findings.filter(({ source, object }) => source === 'none' && topics.includes(object.topic));
  return [...lost, ...next.map(({ object }) => object)];
}

async function mend(
  place: ArchivePlace,
  findings: readonly ObjectFinding[],
  quiet: boolean,
): Promise<readonly RepairResult[]> {
  const mending = new ProgressLine('repairing');
  const outcomes = await repair({
    ...place,
    findings,
    compacted: (object, inputs) => rebuildCompacted(place, object, inputs, tmpdir()),
    onProgress: ({ done, total, key }) => {
      if (!quiet) mending.update({ done, total, text: key });
    },
  });
  mending.end();
  return outcomes;
}

/** Gives up objects. Returns all outcomes, theirs included. */
async function giveUp(
  place: ArchivePlace,
  findings: readonly ObjectFinding[],
  outcomes: readonly RepairResult[],
): Promise<readonly RepairResult[]> {
  const lost = lostOf(findings, outcomes);
  if (lost.length === 0) return outcomes;
  await using compactor = await Compactor.open(place);
  const given = new Set((await compactor.giveUp(lost)).map(({ key }) => key));
  return outcomes.map((outcome) => (given.has(outcome.key) ? { key: outcome.key, result: 'lost' } : outcome));
}

interface RepairPlan extends Examined {
  readonly manifests: readonly { readonly key: string; readonly state: string }[];
  /** Lost objects, also of earlier runs, that are read again from Postgres. */
  readonly toRefill: readonly ListedObject[];
}

function shown({ objects, bytes, findings, manifests, toRefill }: RepairPlan): object {
  const found = findings.map(({ object, state, source, why }) => ({
    key: object.key,
    state,
    source,
    why,
    rows: object.rows,
    bytes: object.bytes,
  }));
  const lost = toRefill.map(({ topic, key, partition, day, rows }) => ({ topic, key, partition, day, rows }));
  return { objects, bytes, findings: found, manifests, ...(lost.length === 0 ? {} : { lost }) };
}

function printPlan({ objects, findings, manifests }: RepairPlan, givesUp: boolean): void {
  const bad = findings.length + manifests.length;
  if (bad === 0) {
    process.stdout.write(`✓ ${objects} files and all manifests match their records\n`);
    return;
  }
  printTable(
    ['file', 'is', 'rebuilt from', 'rows'],
    [
      ...findings.map(({ object, state, source, why }) => [
        object.key,
        state,
        source === 'none'
          ? `nothing${givesUp ? ', so it is given up as lost' : ''}: ${why}`
          : source === 'log'
            ? 'the log'
            : 'its compacted inputs',
        String(object.rows),
      ]),
      ...manifests.map(({ key, state }) => [key, state, 'the list', '']),
    ],
  );
}

function printOutcomes(outcomes: readonly RepairResult[]): void {
  const words = {
    repaired: '✓ repaired',
    good: '✓ already good',
    unlisted: '✓ no longer listed',
    failed: '✗ not repaired',
    lost: '✓ given up as lost',
  } as const;
  for (const { key, result, error } of outcomes) {
    process.stdout.write(`${words[result]}: ${key}\n`);
    if (error !== undefined) process.stdout.write(`    ${error.message}\n    ${error.remedy ?? ''}\n`);
  }
}

/** A key, or a URL as printed by `millrace archive files`. */
function keyOf(text: string): string {
  return text.replace(/^s3a?:\/\/[^/]+\//, '');
}
