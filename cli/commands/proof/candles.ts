import type { Command } from 'commander';
import { Registry } from '../../../core/avro/registry/registry.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { formatDecimal, formatTrimmed, NOTIONAL_SCALE, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import { type CandleQuery, type FoundCandles, readCandles } from '../../market/candles.ts';
import { loadConfig } from '../../settings/config.ts';
import { similar } from '../../settings/similar.ts';
import { chart } from '../../terminal/chart.ts';
import { timeOf, wholeNumber } from '../../terminal/options.ts';
import { printJson, printTable } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface CandleOptions {
  readonly interval: string;
  readonly venue?: string;
  readonly from?: string;
  readonly to?: string;
  readonly last: string;
  readonly json?: boolean;
}

const chartHeight = 16;

export function register(program: Command): void {
  program
    .command('candles')
    .description('show the candles of a symbol: the newest revision of each, as a chart and a table')
    .argument('<symbol>', "symbol in the venue's spelling, e.g. BTC/USD")
    .option('--interval <interval>', 'length of the windows, e.g. 1m or 5m', '1m')
    .option('--venue <venue>', 'only this venue')
    .option('--from <time>', 'windows that start at or after, a day or a time in ISO 8601')
    .option('--to <time>', 'windows that start before, a day or a time in ISO 8601')
    .option('--last <n>', 'maximum number of candles, the newest', '60')
    .option('--json', 'print JSON: exact decimals as text')
    .action(async (symbol: string, options: CandleOptions, command: Command) => {
      const config = loadConfig(command);
      const last = wholeNumber('--last', options.last, 1);
      await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: config.kafka.clientId });
      await using schemas = new Registry({ url: config.registry.url });
      const query: CandleQuery = {
        symbol,
        interval: options.interval,
        signal: untilSignal(),
        ...(options.venue !== undefined && { venue: options.venue }),
        ...(options.from !== undefined && { from: timeOf('--from', options.from) }),
        ...(options.to !== undefined && { to: timeOf('--to', options.to) }),
      };
      const found = await readCandles(log, schemas, query);
      requireKnown(query, found);
      const candles = found.candles.slice(-last);
      if (options.json === true) printJson(candles.map(toJson));
      else print(candles, symbol, options.interval);
    });
}

/** @throws MillraceError CONFIG_INVALID: the topic has no candle of the symbol or of the interval, at any time. */
function requireKnown({ symbol, interval }: CandleQuery, { known }: FoundCandles): void {
  const intervals = known.get(symbol);
  if (intervals?.has(interval) === true) return;
  if (known.size === 0) {
    throw new MillraceError('CONFIG_INVALID', 'there are no candles yet', {
      remedy: '`millrace status` shows the progress of ohlcv; `millrace run --all` starts everything.',
    });
  }
  if (intervals !== undefined) {
    throw new MillraceError('CONFIG_INVALID', `there are no ${interval} candles of ${symbol}`, {
      remedy: `There are candles of ${[...intervals].join(', ')}.`,
    });
  }
  const symbols = [...known.keys()].sort();
  const like = similar(symbol, symbols);
  throw new MillraceError('CONFIG_INVALID', `there are no candles of ${symbol}`, {
    remedy: `${like === undefined ? '' : `Did you mean ${like}? `}Symbols: ${symbols.slice(0, 20).join(', ')}${symbols.length > 20 ? `, and ${symbols.length - 20} more` : ''}.`,
  });
}

function print(candles: readonly Candle[], symbol: string, interval: string): void {
  if (candles.length === 0) {
    process.stdout.write(`no ${interval} candles of ${symbol} in this time\n`);
    return;
  }
  const lines = drawCandles(candles, process.stdout.isTTY, (process.stdout.columns ?? 100) - 14);
  process.stdout.write(`${lines.join('\n')}\n\n`);
  printTable(
    ['start (UTC)', 'open', 'high', 'low', 'close', 'volume', 'vwap', 'trades', 'status'],
    candles
      .slice(-20)
      .map((candle) => [
        formatTimestamp(candle.window_start).slice(0, 19).replace('T', ' '),
        ...[candle.open, candle.high, candle.low, candle.close, candle.volume, candle.vwap].map((value) =>
          value === null ? '–' : formatTrimmed(value, PRICE_SCALE),
        ),
        candle.trade_count.toString(),
        `${candle.status} ${candle.revision}`,
      ]),
  );
}

/** The chart with its time axis, of the newest candles that fit the width. */
export function drawCandles(candles: readonly Candle[], color: boolean, width: number): string[] {
  const shown = candles.filter(({ open }) => open !== null).slice(-Math.max(10, width));
  const bars = shown.map(({ open, high, low, close }) => ({
    open: toChart(open),
    high: toChart(high),
    low: toChart(low),
    close: toChart(close),
  }));
  const lines = chart(bars, { height: chartHeight, color, label: (price) => price.toFixed(2) });
  const [first, last] = [shown[0], shown.at(-1)];
  if (first === undefined || last === undefined) return lines;
  const indent = (lines[0]?.indexOf('┤') ?? 0) + 1;
  return [
    ...lines,
    `${' '.repeat(indent)}${formatTimestamp(first.window_start).slice(0, 16)} … ${formatTimestamp(last.window_start).slice(0, 16)} UTC`,
  ];
}

/** Rounds, because it only chooses a row of the screen. */
function toChart(price: bigint | null): number {
  return price === null ? 0 : Number(price) / 1e8;
}

function toJson(candle: Candle): object {
  const price = (value: bigint | null): string | null => (value === null ? null : formatDecimal(value, PRICE_SCALE));
  const time = (value: bigint | null): string | null => (value === null ? null : formatTimestamp(value));
  return {
    ...candle,
    window_start: time(candle.window_start),
    window_end: time(candle.window_end),
    open: price(candle.open),
    high: price(candle.high),
    low: price(candle.low),
    close: price(candle.close),
    vwap: price(candle.vwap),
    volume: price(candle.volume),
    notional: formatDecimal(candle.notional, NOTIONAL_SCALE),
    open_time: time(candle.open_time),
    high_time: time(candle.high_time),
    low_time: time(candle.low_time),
    close_time: time(candle.close_time),
  };
}
