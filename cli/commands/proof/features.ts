import type { Command } from 'commander';
import { Registry } from '../../../core/avro/registry/registry.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { formatDecimal, formatTrimmed, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { Features } from '../../../schemas/gen/features.ts';
import { readFeatures } from '../../market/features.ts';
import { loadConfig } from '../../settings/config.ts';
import { timeOf } from '../../terminal/options.ts';
import { printJson, printTable } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface FeaturesOptions {
  readonly venue?: string;
  readonly set?: string;
  readonly at?: string;
  readonly json?: boolean;
}

const RATIO_SCALE = 16;
const barWidth = 30;

export function register(program: Command): void {
  program
    .command('features')
    .description('show the features of a symbol: the latest row at or before a time, of each venue and feature set')
    .argument('<symbol>', "symbol in the venue's spelling, e.g. BTC/USD")
    .option('--venue <venue>', 'only this venue; reads one partition instead of all')
    .option('--set <name>', 'only this feature set')
    .option('--at <time>', 'ISO 8601; default: the latest')
    .option('--json', 'print JSON: exact decimals as text')
    .action(async (symbol: string, options: FeaturesOptions, command: Command) => {
      const config = loadConfig(command);
      const at = options.at === undefined ? undefined : timeOf('--at', options.at);
      await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: config.kafka.clientId });
      await using schemas = new Registry({ url: config.registry.url });
      const rows = await readFeatures(log, schemas, {
        symbol,
        signal: untilSignal(),
        ...(options.venue !== undefined && { venue: options.venue }),
        ...(options.set !== undefined && { set: options.set }),
        ...(at !== undefined && { at }),
      });
      if (options.json === true) printJson(rows.map(toJson));
      else if (rows.length === 0) {
        throw new MillraceError(
          'CONFIG_INVALID',
          `there are no features of ${symbol}${at === undefined ? '' : ' at that time'}`,
          {
            remedy: `\`millrace candles ${symbol}\` lists the symbols; \`millrace status\` shows the progress of features.`,
          },
        );
      } else for (const row of rows) print(row);
    });
}

function print(row: Features): void {
  const price = row.price === null ? 'no price' : `price ${formatTrimmed(row.price, PRICE_SCALE)}`;
  const when = formatTimestamp(row.as_of).slice(0, 19).replace('T', ' ');
  process.stdout.write(`${row.venue} ${row.symbol} · set ${row.feature_set} · as of ${when} UTC · ${price}\n\n`);
  const cell = (units: bigint | null, scale: number) => (units === null ? '–' : formatTrimmed(units, scale));
  printTable(
    ['window', 'return', 'volatility', 'volume', 'bought', 'sold', 'imbalance', 'trades'],
    row.windows.map((window) => [
      window.length,
      cell(window.return, RATIO_SCALE),
      cell(window.realised_volatility, PRICE_SCALE),
      ...[window.volume, window.buy_volume, window.sell_volume].map((units) => cell(units, PRICE_SCALE)),
      cell(window.trade_imbalance, PRICE_SCALE),
      window.trade_count.toString(),
    ]),
  );
  if (row.profile.length === 0) return;
  process.stdout.write(`\nvolume by price, last ${row.windows.at(-1)?.length}\n`);
  let most = 1n;
  for (const { volume } of row.profile) if (volume > most) most = volume;
  printTable(
    ['from', 'to', 'volume', ''],
    row.profile
      .toReversed()
      .map(({ price_from, price_to, volume }) => [
        formatTrimmed(price_from, PRICE_SCALE),
        formatTrimmed(price_to, PRICE_SCALE),
        formatTrimmed(volume, PRICE_SCALE),
        '█'.repeat(Number((volume * BigInt(barWidth)) / most)),
      ]),
  );
  process.stdout.write('\n');
}

function toJson(row: Features): object {
  const decimal = (units: bigint | null, scale = PRICE_SCALE) => (units === null ? null : formatDecimal(units, scale));
  return {
    ...row,
    as_of: formatTimestamp(row.as_of),
    price: decimal(row.price),
    price_time: row.price_time === null ? null : formatTimestamp(row.price_time),
    windows: row.windows.map((window) => ({
      ...window,
      start_price: decimal(window.start_price),
      return: decimal(window.return, RATIO_SCALE),
      realised_variance: decimal(window.realised_variance, RATIO_SCALE),
      realised_volatility: decimal(window.realised_volatility),
      volume: decimal(window.volume),
      buy_volume: decimal(window.buy_volume),
      sell_volume: decimal(window.sell_volume),
      trade_imbalance: decimal(window.trade_imbalance),
    })),
    profile: row.profile.map(({ price_from, price_to, volume }) => ({
      price_from: decimal(price_from),
      price_to: decimal(price_to),
      volume: decimal(volume),
    })),
  };
}
