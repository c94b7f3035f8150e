/** `millrace load`: trades from files into the captured tables. */
import type { Command } from 'commander';
import { MillraceError } from '../../../core/base/errors.ts';
import type { Findings } from '../../../storage/load/findings.ts';
import { type LoadProgress, type LoadResult, loadTrades } from '../../../storage/load/load.ts';
import { formats, isFormat } from '../../../storage/load/rows/formats.ts';
import { writeSynthetic } from '../../../storage/load/synthetic.ts';
import { captureHint } from '../../capture/hint.ts';
import { askCandles } from '../../market/frozen.ts';
import { describeFindings, describeLate } from '../../market/load-findings.ts';
import { loadConfig } from '../../settings/config.ts';
import { wholeNumber } from '../../terminal/options.ts';
import { count, printJson, say } from '../../terminal/print.ts';
import { ProgressLine } from '../../terminal/progress.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface Options {
  readonly venue?: string;
  readonly symbol?: string;
  readonly format: string;
  readonly side?: string;
  readonly delimiter?: string;
  readonly batch: string;
  readonly rejects?: string;
  readonly maxRejects: string;
  readonly sort?: boolean;
  readonly allowLate?: boolean;
  readonly check?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const group = program.command('load').description('load files into the captured tables');
  group
    .command('trades')
    .description(
      'load a CSV file of trades, plain or gzipped; a repeated load adds nothing, an interrupted load continues',
    )
    .argument('<file>', 'CSV file')
    .option('--venue <name>', 'venue of all rows, if the file has no such column')
    .option('--symbol <name>', 'symbol of all rows, if the file has no such column')
    .option('--format <name>', `meaning of the columns: ${Object.keys(formats).join(', ')}`, 'auto')
    .option(
      '--side <whose>',
      "meaning of the side in the file, maker or taker; it is stored as the taker's (default: by format, else taker)",
    )
    .option('--delimiter <char>', 'column delimiter', ',')
    .option('--check', 'check the file against Postgres, print the findings, and load nothing')
    .option('--sort', 'load the rows in the order of their times; needs disk in TMPDIR for the unpacked file')
    .option('--allow-late', 'also load trades that will be late for candles')
    .option('--max-rejects <rows>', 'maximum number of rejected rows; the others are loaded', '0')
    .option('--rejects <file>', 'file for rejected rows (default: <file>.rejects.csv)')
    .option('--batch <rows>', 'rows per transaction', '10000')
    .option('--json', 'print findings and counts as JSON; without counts if the findings prevent the load')
    .addHelpText('after', () => {
      const lines = Object.entries(formats).map(([name, { about }]) => `  ${name.padEnd(11)} ${about}`);
      return `\nFormats:\n${lines.join('\n')}\n${explanation}`;
    })
    .action(run);
  group
    .command('synthetic')
    .description('write a file of generated trades for load tests; equal options give equal bytes')
    .argument('<file>', 'CSV file to write')
    .option('--rows <count>', 'trades', '200000')
    .option('--symbols <count>', 'symbols', '8')
    .option('--seed <number>', 'seed of the generator', '1')
    .option('--per-second <count>', 'trades per second of event time', '100')
    .action(synthetic);
}

async function synthetic(
  file: string,
  options: Record<'rows' | 'symbols' | 'seed' | 'perSecond', string>,
): Promise<void> {
  const [rows, symbols, seed, perSecond] = (['rows', 'symbols', 'seed', 'perSecond'] as const).map((name) => {
    const value = Number(options[name]);
    if (Number.isInteger(value) && value > 0) return value;
    throw new MillraceError('CONFIG_INVALID', `${name} ${options[name]} is no whole number above zero`);
  }) as [number, number, number, number];
  await writeSynthetic(file, { rows, symbols, seed, perSecond });
  process.stdout.write(`${file}: ${count(rows)} trades of ${count(symbols)} symbols\n`);
}

const explanation = `
What it does:
  The whole file is read first. The command prints used and ignored columns, ids, order and rejected rows, and then loads.
  Side means the taker's side. The taker is the party that matched a waiting order.
  A file without trade ids gets ids from time, price, size and a count of equal rows. So a file that has grown adds only its new rows.
  A file without sequences gets them only where the order of ids would reverse lines of equal time.

Nothing is loaded, and the exit status is 1, if
  more than --max-rejects rows cannot be loaded: the reject file has them with line and reason;
  rows of a symbol go back in time by more than ohlcv.watermarkDelayMs, without --sort or --allow-late: candles would refuse them as late;
  new rows are older than their symbol's rows in Postgres by more than ohlcv.watermarkDelayMs, or their candles are frozen, without
  --allow-late. Candles also freeze as time passes: with one file for each day, a file loaded a day after the previous one is late.
  Rows that Postgres already has are not new: after an interruption, load the file again with the same command.

A row whose id exists with other values is found during the load. It goes to the reject file and the other rows stay. The exit status is 1
if there are more such rows than --max-rejects.
`;

async function run(file: string, options: Options, command: Command): Promise<void> {
  const config = loadConfig(command);
  const { format, side } = options;
  if (!isFormat(format)) {
    throw new MillraceError('CONFIG_INVALID', `there is no format ${format}`, {
      remedy: `Use one of ${Object.keys(formats).join(', ')}.`,
    });
  }
  if (side !== undefined && side !== 'maker' && side !== 'taker') {
    throw new MillraceError('CONFIG_INVALID', `--side ${side} is neither maker nor taker`);
  }
  const batchRows = wholeNumber('--batch', options.batch, 1, 1_000_000);
  const maxRejects = wholeNumber('--max-rejects', options.maxRejects, 0);
  const signal = untilSignal(
    () => new MillraceError('INTERRUPTED', 'interrupted', { remedy: 'Load the same file again: the load continues.' }),
  );
  const json = options.json === true;
  const progress = new PhaseProgress();
  let found: Findings | undefined;
  try {
    const result = await loadTrades({
      url: config.postgres.url,
      file,
      format,
      batchRows,
      maxRejects,
      watermarkDelayMs: config.ohlcv.watermarkDelayMs,
      sort: options.sort === true,
      allowLate: options.allowLate === true,
      check: options.check === true,
      frozen: async (symbols) => {
        const frozen = await askCandles(config, symbols, signal);
        if (frozen === undefined)
          process.stderr.write('the state of ohlcv cannot be read: trades are compared with Postgres only\n');
        return frozen;
      },
      signal,
      ...(side === undefined ? {} : { side }),
      ...(options.venue === undefined ? {} : { venue: options.venue }),
      ...(options.symbol === undefined ? {} : { symbol: options.symbol }),
      ...(options.delimiter === undefined ? {} : { delimiter: options.delimiter === '\\t' ? '\t' : options.delimiter }),
      ...(options.rejects === undefined ? {} : { rejectFile: options.rejects }),
      onProgress: (state) => progress.update(state),
      onFindings: (findings) => {
        progress.end();
        found = findings;
        if (!json) for (const line of describeFindings(findings)) say(line);
      },
    });
    progress.end();
    if (json) printJson(result);
    else if (options.check === true) say('nothing was loaded (--check)');
    else {
      printResult(result);
      const hint = await captureHint(config);
      if (hint !== undefined) say(hint);
    }
    found = undefined;
    if (result.rejected > maxRejects) throw tooMany(result, maxRejects);
  } catch (error) {
    if (json && found !== undefined) printJson({ findings: found });
    throw error;
  } finally {
    progress.end();
  }
}

function printResult({ read, inserted, present, rejected, seconds, rejectFile, findings }: LoadResult): void {
  say(
    `${count(read)} rows read, ${count(inserted)} inserted, ${count(present)} already there, ${count(rejected)} rejected` +
      ` in ${seconds.toFixed(1)} s`,
  );
  if (rejectFile !== undefined) say(`rejected rows are in ${rejectFile}`);
  for (const line of describeLate(findings)) say(line);
}

/** The error for too many rejected rows; the other rows are in the table. */
function tooMany({ rejected, inserted, present, rejectFile }: LoadResult, maxRejects: number): MillraceError {
  return new MillraceError(
    'LOAD_REFUSED',
    `${count(rejected)} rows were rejected, more than --max-rejects ${maxRejects}; ${count(inserted + present)} others are in Postgres`,
    { remedy: `Read the reasons in ${rejectFile}.` },
  );
}

/** One line of progress for each phase. */
class PhaseProgress {
  #phase: LoadProgress['phase'] | undefined;
  #line = new ProgressLine('');
  /** Start of the phase, which is the last progress of the previous one. */
  #start = performance.now();
  #last = this.#start;

  update({ phase, bytes, totalBytes, read }: LoadProgress): void {
    if (phase !== this.#phase) {
      this.end();
      this.#phase = phase;
      this.#line = new ProgressLine(phase);
      this.#start = this.#last;
    }
    this.#last = performance.now();
    const rate = Math.round(read / ((this.#last - this.#start) / 1000));
    this.#line.update({ done: bytes, total: totalBytes, text: `${count(read)} rows, ${count(rate)}/s` });
  }

  end(): void {
    this.#line.end();
  }
}
