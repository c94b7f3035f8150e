/** Prints the trace of a candle. */
import { formatTrimmed, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatLsn } from '../../../core/values/lsn.ts';
import type { CandleTrace, InputTrace } from '../../../proof/trace/candle/trace.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import { aligned, findingLines, instant, labelled, revision, searchedLines } from './lines.ts';
import { partialCells } from './row.ts';

export function candleLines(trace: CandleTrace): string[] {
  const { key, candle, at, partials, revisions, omitted, input } = trace;
  const published = [
    ...(partials === null ? [] : [partialCells(partials)]),
    ...(omitted === 0 ? [] : [[`${omitted} older revisions`]]),
    ...revisions.map(revision),
  ];
  return [
    `candle ${key.venue} ${key.symbol} ${key.interval} ${instant(key.windowStart)}`,
    '',
    ...labelled('published', aligned(published), 2, 11),
    ...(candle === null || at === null ? [] : ['', ...figureLines(candle)]),
    ...(input === null ? [] : ['', ...inputLines(input)]),
    '',
    'searched',
    ...searchedLines(trace.searched).map((line) => `  ${line}`),
    '',
    ...(trace.found
      ? findingLines(trace.findings, verdictOf(input))
      : ['✗ there is no such candle', '  remedy: `millrace candles SYMBOL --interval INTERVAL` lists the candles']),
  ];
}

function verdictOf(input: InputTrace | null): string {
  if (input === null) return 'a candle without input';
  return input.different === null
    ? 'not recomputed: its input is incomplete'
    : 'a recomputation from its trades gives the same candle';
}

function figureLines(candle: Candle): string[] {
  const price = (value: bigint | null): string => (value === null ? '–' : formatTrimmed(value, PRICE_SCALE));
  const { open, high, low, close, volume, vwap, trade_count, status, reason } = candle;
  return [
    `revision ${candle.revision}, ${status}, ${reason}`,
    `  open ${price(open)}  high ${price(high)}  low ${price(low)}  close ${price(close)}  volume ${price(volume)}  vwap ${price(vwap)}  trades ${trade_count}`,
  ];
}

function inputLines({
  topic,
  partition,
  offsets,
  lsn,
  sources,
  changes,
  applied,
  trades,
  tradeCount,
}: InputTrace): string[] {
  const rows = trades.map(({ trade_id, executedAt, price, size, offset, lsn: number, transaction }) => [
    trade_id,
    instant(executedAt),
    formatTrimmed(price, PRICE_SCALE),
    formatTrimmed(size, PRICE_SCALE),
    offset.toString(),
    number === null ? '–' : formatLsn(number),
    transaction === null ? '–' : transaction.toString(),
  ]);
  const more = tradeCount - BigInt(trades.length);
  return [
    `input ${topic}/${partition} offsets ${offsets.from} to ${offsets.to}, LSN ${lsn.from} to ${lsn.to}`,
    `  read from ${sources.join(' and ')}: ${changes} changes of the symbol, ${applied} of them about this window, ${tradeCount} trades in it`,
    ...aligned([['trade', 'event time', 'price', 'size', 'offset', 'LSN', 'transaction'], ...rows]).map(
      (line) => `  ${line}`,
    ),
    ...(more > 0n ? [`  … and ${more} more (--trades ${tradeCount})`] : []),
  ];
}
