import { type Command, InvalidArgumentError } from 'commander';
import { MillraceError } from '../../../core/base/errors.ts';
import { type Check, maxExamples } from '../../../proof/report/report.ts';
import { describeLine, differing } from '../../../proof/report/tally.ts';
import { dayOf } from '../../archive/list.ts';
import { reconcile } from '../../proof/reconcile.ts';
import { type TableName, tableNames, type Verification, verify } from '../../proof/verify.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { portNumber } from '../../terminal/options.ts';
import { printJson } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface VerifyCommandOptions {
  readonly table: readonly TableName[];
  readonly day?: string;
  /** Seconds. */
  readonly every?: number;
  readonly port: number;
  readonly json?: boolean;
  /** Seconds. */
  readonly wait: number;
}

export function register(program: Command): void {
  program
    .command('verify')
    .description(
      'prove that candles and archive equal Postgres, also under live traffic; exits with 1 on any difference',
    )
    .option('--table <name>', `compare ${tableNames.join(', ')} alone, repeatable`, table, [])
    .option('--day <day>', 'only rows with an event time on this UTC day, YYYY-MM-DD', dayOf)
    .option('--wait <seconds>', 'longest wait for the stages without progress', seconds, 60)
    .option('--every <seconds>', 'repeat until a signal; serves the last verdict as metrics', seconds)
    .option('--port <port>', 'with --every: port of /health, /ready and /metrics; 0: a free one', portNumber, 0)
    .option('--json', 'print JSON, with rows and row hashes by table, day and partition')
    .action(async (options: VerifyCommandOptions, command: Command) => {
      const config = loadConfig(command);
      const json = options.json === true;
      const signal = untilSignal(
        () => new MillraceError('INTERRUPTED', 'interrupted; there is no verdict about the data'),
      );
      const what = {
        ...(options.table.length === 0 ? {} : { tables: options.table }),
        ...(options.day === undefined ? {} : { day: options.day }),
        waitMs: options.wait * 1000,
      };
      await withLog(config, async (log, schemas) => {
        if (options.every !== undefined) {
          const { port } = options;
          await reconcile(config, log, schemas, { everyMs: options.every * 1000, port, verify: what, signal });
          return;
        }
        const onCheck = (check: Check): void => {
          if (!json) printChecks([check]);
        };
        const result = await verify(config, log, schemas, { ...what, onWait: waitLines(), onCheck, signal });
        if (json) printJson(result);
        else printAside(result);
        if (!result.ok) process.exitCode = 1;
      });
    });
}

export function printChecks(checks: readonly Check[]): void {
  for (const { name, subject, differences, examples, seconds, skipped, tallies, lost = [] } of checks) {
    if (skipped === true) {
      process.stdout.write(`· ${name}: skipped, ${subject}\n`);
      continue;
    }
    process.stdout.write(
      `${differences === 0 ? '✓' : '✗'} ${name}: ${subject}, ${differences} differences (${seconds.toFixed(1)} s)\n`,
    );
    for (const example of examples) process.stdout.write(`    ${example}\n`);
    if (differences > examples.length) process.stdout.write(`    … and ${differences - examples.length} more\n`);
    for (const { key, offsets, rows } of lost.slice(0, maxExamples))
      process.stdout.write(`    lost: ${key}, ${rows} rows of offsets ${offsets.first}–${offsets.last}\n`);
    if (lost.length > maxExamples) process.stdout.write(`    … and ${lost.length - maxExamples} more lost\n`);
    const lines = tallies === undefined ? [] : differing(tallies);
    for (const line of lines.slice(0, maxExamples)) process.stdout.write(`    ${describeLine(line)}\n`);
    if (lines.length > maxExamples)
      process.stdout.write(`    … and ${lines.length - maxExamples} more days and partitions\n`);
  }
}

/** Prints findings that are no difference, and parts that were not compared. */
function printAside({ missing, behind, elsewhere, parked }: Verification): void {
  printMissing(missing);
  for (const [table, { since }] of Object.entries(parked)) {
    process.stdout.write(`✗ ${table} is parked since ${since}: it is not captured, and not verified from then on\n`);
  }
  for (const { name, topic, offsets } of behind) {
    process.stdout.write(
      `· ${name} does not run or is paused, and has ${offsets} offsets of ${topic} left: it was compared up to its position\n`,
    );
  }
  for (const { epoch, objects, bytes } of elsewhere) {
    process.stdout.write(
      `· the bucket has ${objects} objects (${bytes} bytes) of another log, ${epoch}: no record lists them, they were not compared\n`,
    );
  }
}

/** Prints the numbers by symbol, greatest first. */
function printMissing(missing: Verification['missing']): void {
  const symbols = new Map<string, { text: string[]; most: number }>();
  for (const { venue, symbol, interval, reason, trades } of missing) {
    const of = symbols.get(`${venue} ${symbol}`) ?? { text: [], most: 0 };
    symbols.set(`${venue} ${symbol}`, of);
    of.text.push(`${trades} in no ${interval} candle (${reason})`);
    of.most = Math.max(of.most, trades);
  }
  const sorted = [...symbols].sort(([, a], [, b]) => b.most - a.most);
  for (const [name, { text }] of sorted.slice(0, maxExamples)) {
    process.stdout.write(`! trades of ${name}: ${text.join(', ')}\n`);
  }
  if (sorted.length > maxExamples) process.stdout.write(`! … and ${sorted.length - maxExamples} more symbols\n`);
  const reasons = new Set(missing.map(({ reason }) => reason));
  const canRebuild = reasons.delete('LATE') || reasons.delete('CORRECTION');
  reasons.delete('CORRECTION');
  if (canRebuild) {
    process.stdout.write(
      '  LATE: later than ohlcv.allowedLatenessMs. CORRECTION: not applied. `millrace rebuild ohlcv --late` plans the rebuild\n',
    );
  }
  if (reasons.size > 0) process.stdout.write('  the others are dead letters: `millrace dead list ohlcv`\n');
}

/** Prints the wait to standard error, each line once, because it seldom changes. */
function waitLines(): (text: string) => void {
  let last = '';
  let saidMs = 0;
  return (text) => {
    const now = performance.now();
    if (text === last || now - saidMs < 1_000) return;
    [last, saidMs] = [text, now];
    process.stderr.write(`  ${text}\n`);
  };
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 86_400)) throw new InvalidArgumentError('seconds, more than 0');
  return value;
}

function table(text: string, others: readonly TableName[]): readonly TableName[] {
  const found = tableNames.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`one of ${tableNames.join(', ')}`);
  return [...others, found];
}
