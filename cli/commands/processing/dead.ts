import type { Command } from 'commander';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { filterHelp, parseFilter } from '../../../core/operations/filter.ts';
import {
  contentOf,
  deadTopic,
  firstOrigin,
  formatMillis,
  type Letter,
  letterId,
  parseLetterId,
  readLetter,
  readLetters,
} from '../../../core/operations/letters.ts';
import {
  type PlannedRedrive,
  planRedrive,
  readRedrives,
  redrive,
  type Verdict,
} from '../../../core/operations/redrive.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { notConfirmed } from '../../terminal/options.ts';
import { printJson, printTable, say } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface ListOptions {
  readonly filter: readonly string[];
  readonly last: string;
  readonly json?: boolean;
}

interface RedriveCommandOptions {
  readonly filter: readonly string[];
  readonly dryRun?: boolean;
  readonly maxAttempts: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function register(program: Command): void {
  const group = program
    .command('dead')
    .description('dead letters: records that a processor or sink refused, with the reason');
  group
    .command('list')
    .description('list dead letters, the newest of each processor last, with their reasons')
    .argument('[name]', 'processor or sink; default: all that have a dead-letter topic')
    .option('--filter <condition>', `only letters that meet it, repeatable: ${filterHelp}`, collect, [])
    .option('--last <n>', 'maximum number for each processor, the newest', '50')
    .option('--json', 'print JSON')
    .action(list);
  group
    .command('show')
    .description('show one dead letter: origin, reason, and its content, decoded if possible')
    .argument('<name>', 'processor or sink')
    .argument('<letter>', 'partition/offset, from `list`')
    .option('--json', 'print JSON')
    .action(show);
  group
    .command('redrive')
    .description(
      'send dead letters to their origin partitions again, marked, each once; shows the plan, and acts with --yes',
    )
    .argument('<name>', 'processor or sink; other readers skip the records')
    .option('--filter <condition>', `only letters that meet it, repeatable: ${filterHelp}`, collect, [])
    .option('--max-attempts <n>', 'skip letters with this many attempts', '3')
    .option('--dry-run', 'show the plan; change nothing, exit with 0')
    .option('--yes', 'carry out the plan')
    .option('--json', 'print JSON')
    .action(redriveCommand);
}

async function list(name: string | undefined, options: ListOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const filter = parseFilter(options.filter);
  const last = wholeNumber('--last', options.last);
  const signal = untilSignal();
  const names = name === undefined ? await allNames(config) : [name];
  await withLog(config, async (log, schemas) => {
    const rows = [];
    const counts: Record<string, Record<string, number>> = {};
    for (const each of names) {
      const redrives = await readRedrives(log, schemas, deadTopic(each));
      const found: Letter[] = [];
      const byReason: Record<string, number> = {};
      for await (const letter of readLetters(log, schemas, each, signal)) {
        if (!filter(letter)) continue;
        byReason[letter.reason] = (byReason[letter.reason] ?? 0) + 1;
        found.push(letter);
        if (found.length > last) found.shift();
      }
      counts[each] = byReason;
      rows.push(...found.map((letter) => summary(letter, redrives.get(letterId(letter))?.redriven_at)));
    }
    if (options.json === true) {
      printJson({ counts, letters: rows });
      return;
    }
    for (const [each, byReason] of Object.entries(counts)) {
      const parts = Object.entries(byReason).map(([reason, n]) => `${n} ${reason}`);
      say(`${each}: ${parts.length === 0 ? 'none' : parts.join(', ')}`);
    }
    if (rows.length === 0) return;
    say('');
    printTable(
      ['processor', 'letter', 'time', 'reason', 'origin', 'tried', 'redriven', 'error'],
      rows.map((row) => [
        row.processor,
        row.letter,
        row.time,
        row.reason,
        row.origin,
        String(row.attempts),
        row.redrivenAt ?? '',
        short(row.error),
      ]),
    );
  });
}

function summary(letter: Letter, redrivenAt: bigint | undefined) {
  const { processor, origin, reason, error, attempts, schema_id: schemaId, lsn } = letter;
  return {
    processor,
    letter: letterId(letter),
    time: formatMillis(origin.timestamp),
    reason,
    error,
    origin: `${origin.topic}/${origin.partition}/${origin.offset}`,
    firstOrigin: firstOrigin(letter),
    attempts,
    schemaId,
    lsn,
    redrivenAt: redrivenAt === undefined ? undefined : formatTimestamp(redrivenAt),
  };
}

async function show(name: string, id: string, options: { json?: boolean }, command: Command): Promise<void> {
  const config = loadConfig(command);
  const place = parseLetterId(id);
  await withLog(config, async (log, schemas) => {
    const letter = await readLetter(log, schemas, name, place);
    const redrives = await readRedrives(log, schemas, deadTopic(name));
    const row = summary(letter, redrives.get(letterId(letter))?.redriven_at);
    const parts = [];
    for (const part of ['key', 'value'] as const) {
      const bytes = letter[part];
      if (bytes === null) {
        parts.push({ part, decoded: null, problem: undefined, length: 0, hex: undefined });
        continue;
      }
      const { decoded, problem } = await contentOf(schemas, bytes);
      parts.push({ part, decoded, problem, length: bytes.length, hex: bytes.toString('hex') });
    }
    if (options.json === true) {
      printJson({ ...row, content: Object.fromEntries(parts.map(({ part, ...rest }) => [part, rest])) });
      return;
    }
    for (const [title, value] of Object.entries(row)) {
      if (value !== null && value !== undefined) say(`${title.padEnd(12)} ${value}`);
    }
    for (const { part, decoded, problem, length, hex } of parts) {
      if (hex === undefined) say(`${part.padEnd(12)} none`);
      else if (problem === undefined) {
        say(`${part.padEnd(12)} ${length} bytes`);
        printJson(decoded);
      } else {
        say(`${part.padEnd(12)} ${length} bytes that cannot be decoded: ${problem}`);
        for (const line of hexLines(Buffer.from(hex, 'hex'))) say(`  ${line}`);
      }
    }
  });
}

async function redriveCommand(name: string, options: RedriveCommandOptions, command: Command): Promise<void> {
  const config = loadConfig(command);
  const filter = parseFilter(options.filter);
  const maxAttempts = wholeNumber('--max-attempts', options.maxAttempts);
  const carryOut = options.yes === true && options.dryRun !== true;
  const signal = untilSignal();
  await withLog(config, async (log, schemas) => {
    const task = { log, schemas, processor: name, filter, maxAttempts, signal };
    const rows = [];
    const counts: Record<Verdict['action'], number> = { redrive: 0, done: 0, refuse: 0 };
    const now = BigInt(Date.now()) * 1000n;
    for await (const planned of carryOut ? redrive({ ...task, nowMicros: now }) : planRedrive(task)) {
      counts[planned.verdict.action]++;
      rows.push(planRow(planned, carryOut));
    }
    if (options.json === true) {
      printJson({ carriedOut: carryOut, ...counts, letters: rows });
    } else {
      if (rows.length > 0) {
        const cells = rows.map((row) => [row.letter, row.reason, row.to, row.what]);
        printTable(['letter', 'reason', 'to', carryOut ? 'what was done' : 'what would be done'], cells);
      }
      const sent = carryOut ? 'sent' : 'to send';
      say(`${counts.redrive} ${sent}, ${counts.done} redriven before, ${counts.refuse} skipped`);
    }
    if (carryOut || options.dryRun === true || counts.redrive === 0) return;
    throw notConfirmed('nothing was sent yet');
  });
}

function planRow({ letter, verdict }: PlannedRedrive, carriedOut: boolean) {
  const { origin, reason } = letter;
  const what = {
    redrive: () => (carriedOut ? 'sent' : 'send'),
    done: () => `redriven at ${verdict.action === 'done' ? formatTimestamp(verdict.atMicros) : ''}`,
    refuse: () => `skipped: ${verdict.action === 'refuse' ? verdict.why : ''}`,
  }[verdict.action]();
  return { letter: letterId(letter), reason, to: `${origin.topic}/${origin.partition}`, action: verdict.action, what };
}

/** All names with a dead-letter topic on the cluster, users' processors included. */
async function allNames(config: Config): Promise<string[]> {
  const { brokers, clientId } = config.kafka;
  await using admin = await TopicAdmin.open({ brokers, clientId });
  const suffix = deadTopic('');
  return [...(await admin.partitions()).keys()]
    .filter((topic) => topic.endsWith(suffix))
    .map((topic) => topic.slice(0, -suffix.length))
    .sort();
}

function wholeNumber(option: string, text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0) return number;
  throw new MillraceError('CONFIG_INVALID', `${option} ${text} is not a number from 1`);
}

/** Sixteen bytes a line, in hexadecimal and as printable text; the first 256 bytes. */
function hexLines(bytes: Buffer): string[] {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, 256); at += 16) {
    const row = bytes.subarray(at, at + 16);
    const text = row.toString('latin1').replace(/[^ -~]/g, '.');
    lines.push(`${at.toString(16).padStart(4, '0')}  ${row.toString('hex').replace(/../g, '$& ').padEnd(48)} ${text}`);
  }
  if (bytes.length > 256) lines.push(`… and ${bytes.length - 256} more bytes`);
  return lines;
}

function short(text: string): string {
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
