/** `millrace load`: trades from files into the captured tables. */
import type { Command } from 'commander';
import { MillraceError } from '../../core/errors.ts';
import { formats, isFormat } from '../../storage/load/formats.ts';
import { loadTrades } from '../../storage/load/load.ts';
import { writeSynthetic } from '../../storage/load/synthetic.ts';
import { loadConfig } from '../config.ts';
import { count } from '../print.ts';
import { Progress } from '../progress.ts';
import { untilSignal } from '../signals.ts';

interface Options {
  readonly venue?: string;
  readonly symbol?: string;
  readonly format: string;
  readonly delimiter?: string;
  readonly batch: string;
  readonly rejects?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const group = program.command('load').description('load files into the captured tables');
  group
    .command('trades')
    .description('load a CSV file of trades, plain or gzipped; a second load adds nothing, an interrupted one goes on')
    .argument('<file>', 'CSV file')
    .option('--venue <name>', 'venue of all rows, where the file has no such column')
    .option('--symbol <name>', 'symbol of all rows, where the file has no such column')
    .option('--format <name>', `meaning of the columns: ${Object.keys(formats).join(', ')}`, 'auto')
    .option('--delimiter <char>', 'between columns', ',')
    .option('--batch <rows>', 'rows per transaction', '10000')
    .option('--rejects <file>', 'where rows go that cannot be loaded (default: <file>.rejects.csv)')
    .option('--json', 'print the counts as JSON')
    .addHelpText('after', () => {
      const lines = Object.entries(formats).map(([name, { about }]) => `  ${name.padEnd(9)} ${about}`);
      return `\nFormats:\n${lines.join('\n')}\n`;
    })
    .action(run);
  group
    .command('synthetic')
    .description('write a file of made-up trades for load tests: the same options give the same bytes')
    .argument('<file>', 'CSV file to write')
    .option('--rows <count>', 'trades', '200000')
    .option('--symbols <count>', 'symbols', '8')
    .option('--seed <number>', 'another seed, other trades', '1')
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

async function run(file: string, options: Options, command: Command): Promise<void> {
  const config = loadConfig(command);
  if (!isFormat(options.format)) {
    throw new MillraceError('CONFIG_INVALID', `there is no format ${options.format}`, {
      remedy: `Use one of ${Object.keys(formats).join(', ')}.`,
    });
  }
  const batchRows = Number(options.batch);
  if (!Number.isInteger(batchRows) || batchRows < 1 || batchRows > 1_000_000) {
    throw new MillraceError('CONFIG_INVALID', `--batch ${options.batch} is not between 1 and 1000000`);
  }
  const signal = untilSignal(
    () => new MillraceError('INTERRUPTED', 'interrupted', { remedy: 'Load the same file again: it goes on.' }),
  );
  const progress = new Progress('loading');
  const start = performance.now();
  try {
    const result = await loadTrades({
      url: config.postgres.url,
      file,
      format: formats[options.format],
      batchRows,
      signal,
      ...(options.venue === undefined ? {} : { venue: options.venue }),
      ...(options.symbol === undefined ? {} : { symbol: options.symbol }),
      ...(options.delimiter === undefined ? {} : { delimiter: options.delimiter === '\\t' ? '\t' : options.delimiter }),
      ...(options.rejects === undefined ? {} : { rejectFile: options.rejects }),
      onProgress: ({ bytes, totalBytes, read }) => {
        const rate = Math.round(read / ((performance.now() - start) / 1000));
        progress.update({ done: bytes, total: totalBytes, text: `${count(read)} rows, ${count(rate)}/s` });
      },
    });
    progress.end();
    if (options.json) {
      process.stdout.write(`${JSON.stringify(result)}\n`);
      return;
    }
    const { read, inserted, present, rejected, seconds } = result;
    process.stdout.write(
      `${count(read)} rows read, ${count(inserted)} inserted, ${count(present)} already there, ${count(rejected)} rejected` +
        ` in ${seconds.toFixed(1)} s\n`,
    );
    if (result.rejectFile !== undefined) process.stdout.write(`rejected rows are in ${result.rejectFile}\n`);
  } finally {
    progress.end();
  }
}
