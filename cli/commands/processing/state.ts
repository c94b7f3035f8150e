import type { Command } from 'commander';
import { MillraceError } from '../../../core/base/errors.ts';
import { formatMillis } from '../../../core/operations/letters.ts';
import {
  type CommittedEntry,
  readCommitted,
  StateFormatter,
  type StoreSummary,
  summarize,
} from '../../../core/state/shown/committed.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import { loadProcessor } from '../../processors/module.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { printJson, printTable } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface StateCommandOptions {
  readonly partition?: string;
  readonly store?: string;
  readonly limit: string;
  readonly module?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command('state')
    .description('print the committed state of a processor: its size, the entries of a store, or one key')
    .argument('<processor>')
    .argument('[key]', 'a key, exactly as --store lists it; with control characters as a JSON text in quotes')
    .option('--partition <n>', 'only this partition')
    .option('--store <name>', 'only this store; without a key, list its entries')
    .option('--limit <n>', 'maximum number of entries to list', '50')
    .option('--module <file>', 'module of your own processor')
    .option('--json', 'print JSON')
    .action(show);
}

async function show(
  name: string,
  key: string | undefined,
  options: StateCommandOptions,
  command: Command,
): Promise<void> {
  const config = loadConfig(command);
  const { processor } = await loadProcessor(config, name, options.module);
  const known = processor.stores.map((store) => store.name);
  if (options.store !== undefined && !known.includes(options.store)) {
    throw new MillraceError('CONFIG_INVALID', `${name} has no store ${options.store}`, {
      remedy: known.length === 0 ? `${name} keeps no state` : `name one of ${known.join(', ')}`,
    });
  }
  const partition = options.partition === undefined ? undefined : wholeNumber('--partition', options.partition);
  const limit = wholeNumber('--limit', options.limit);
  const query = { processor: name, partition, store: options.store, key: keyOf(key), signal: untilSignal() };
  await withLog(config, async (log) => {
    const summaries = [];
    const found: CommittedEntry[] = [];
    for await (const each of readCommitted(log, query)) {
      summaries.push(...summarize(each));
      if (key === undefined && options.store === undefined) continue;
      for (const entry of each.entries) if (found.length < limit) found.push(entry);
    }
    if (key === undefined && options.store === undefined) return printSummary(summaries, options.json === true);
    const shower = new StateFormatter(processor.stores);
    const shown = found.map((entry) => ({ ...entry, ...shower.show(entry) }));
    if (options.json === true) return printJson(shown.map(asJson));
    if (key !== undefined) return printEntries(shown);
    printTable(
      ['partition', 'key', 'value'],
      shown.map((each) => [`${each.partition}`, typed(each.key), JSON.stringify(each.value)]),
    );
    const all = summaries.reduce((sum, { entries }) => sum + entries, 0);
    if (all > shown.length) process.stdout.write(`… and ${all - shown.length} more; --limit shows them\n`);
  });
}

type Shown = CommittedEntry & ReturnType<StateFormatter['show']>;

function printSummary(summaries: readonly StoreSummary[], json: boolean): void {
  if (json) {
    printJson(summaries);
    return;
  }
  printTable(
    ['partition', 'store', 'entries', 'bytes', 'schema versions'],
    summaries.map(({ partition, store, entries, bytes, versions }) => [
      `${partition}`,
      store,
      `${entries}`,
      `${bytes}`,
      Object.entries(versions)
        .map(([version, count]) => `${version}: ${count}`)
        .join(', '),
    ]),
  );
}

function printEntries(shown: readonly Shown[]): void {
  if (shown.length === 0) process.stdout.write('no such key is committed\n');
  for (const { partition, store, key, offset, timestamp, setAt, value } of shown) {
    const set = setAt === undefined || setAt === 0n ? '' : `, set at ${formatTimestamp(setAt)}`;
    const where = `partition ${partition}, changelog offset ${offset}, committed at log time ${formatMillis(timestamp)}`;
    process.stdout.write(`${store} ${typed(key)}: ${where}${set}\n${JSON.stringify(value, null, 2)}\n`);
  }
}

function asJson({ partition, store, key, offset, timestamp, setAt, value }: Shown): object {
  return { partition, store, key, offset, timestamp, ...(setAt === undefined ? {} : { setAt }), value };
}

/** Prints a key in the form that `keyOf` reads. */
function typed(key: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression looks for control characters
  return /^"|[\u0000-\u001f\u007f]/.test(key) ? JSON.stringify(key) : key;
}

/** Parses a key. A key with control characters is hard to type, so it may be given as JSON, as the list prints it. */
function keyOf(text: string | undefined): string | undefined {
  if (text === undefined || !text.startsWith('"')) return text;
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'string' ? parsed : text;
  } catch {
    return text;
  }
}

function wholeNumber(option: string, text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new MillraceError('CONFIG_INVALID', `${option} is a whole number, not ${JSON.stringify(text)}`);
}
