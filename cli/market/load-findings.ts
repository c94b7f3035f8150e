/** Printed findings of a load about its file. */

import type { Findings } from '../../storage/load/findings.ts';
import type { LateTrades } from '../../storage/load/order/late.ts';
import { symbolId } from '../../storage/load/order/survey.ts';
import { fields } from '../../storage/load/rows/formats.ts';
import { count } from '../terminal/print.ts';

/** Most symbols that are listed by name. */
const mostNamed = 5;

export function describeFindings(findings: Findings): string[] {
  const { format, headed, columns, given, rejected, rejects, rejectFile } = findings;
  const used = fields.flatMap((field) => {
    const column = columns.find((each) => each.field === field);
    if (column === undefined) return [];
    const note = column.note === undefined ? '' : ` (${column.note})`;
    return column.name === field ? `${field}${note}` : `${field} = ${column.name}${note}`;
  });
  const ignored = columns.flatMap(({ name, field, note }) => (field === undefined ? `${name} (${note})` : []));
  const values = Object.entries(given).map(([field, value]) => `${field} ${value}`);
  const lines = [
    `format    ${format === 'auto' ? 'by the names of the columns' : format}${headed ? '' : ', without a header'}`,
    `columns   ${used.join(', ')}`,
    ...(ignored.length === 0 ? [] : [`ignored   ${ignored.join(', ')}`]),
    ...(values.length === 0 ? [] : [`all rows  ${values.join(', ')}`]),
    ...(columns.some(({ field, note }) => field === 'side' || (field === 'size' && note !== undefined))
      ? []
      : ['side      unknown: the file has none']),
    ...(findings.madeIds ? ['ids       generated from time, price, size and their count: the file has none'] : []),
    `rows      ${rowsOf(findings)}`,
    ...orderOf(findings),
  ];
  if (rejected > 0) {
    lines.push(`rejected  ${count(rejected)} rows, in ${rejectFile}:`);
    for (const { kind, count: times, line, reason } of rejects.slice(0, 10)) {
      lines.push(`          ${count(times)} × ${kind}; first in line ${line}${reason === kind ? '' : `: ${reason}`}`);
    }
    if (rejects.length > 10) lines.push(`          and ${rejects.length - 10} other reasons`);
  }
  return lines;
}

/** Trades that candles refuse, by symbol, with the command that rebuilds the candles; empty if there are none. */
export function describeLate({ order, late }: Findings): string[] {
  const found = union(order.sorted ? [] : order.late, late ?? []);
  if (found.length === 0) return [];
  const lines = ['some loaded trades are late for candles. When they are captured, rebuild the candles:'];
  for (const { venue, symbol, from, to } of found.slice(0, mostNamed)) {
    lines.push(
      `  millrace rebuild ohlcv --venue ${quoted(venue)} --symbol ${quoted(symbol)} --from ${time(from)} --to ${time(to + 1)}`,
    );
  }
  if (found.length > mostNamed) lines.push(`  and ${found.length - mostNamed} other symbols: --json names them`);
  return lines;
}

function rowsOf({ rows, symbols, from, to }: Findings): string {
  const of = `${count(rows)} of ${count(symbols)} ${symbols === 1 ? 'symbol' : 'symbols'}`;
  return from === null || to === null ? of : `${of}, ${time(from)} to ${time(to)}`;
}

function orderOf({ order, late }: Findings): string[] {
  const lines: string[] = [];
  if (order.back > 0) {
    const which = order.newestFirst ? 'newest first' : 'not in the order of times';
    const beyond = total(order.late);
    lines.push(
      `order     ${which}: ${count(order.back)} rows are older than one before them, by up to ${seconds(order.worstBackMs)}; ` +
        `${count(beyond)} by more than the watermark delay${order.sorted ? '; loaded in the order of times' : ''}`,
    );
  }
  if (late === null) lines.push('late      not compared with what Postgres has');
  if (late === null || late.length === 0) return lines;
  lines.push(
    `late      ${count(total(late))} new trades come too late for candles: newer ones of their symbol came before:`,
  );
  for (const each of late.slice(0, mostNamed)) {
    lines.push(`          ${each.venue} ${each.symbol}: ${count(each.trades)}, ${time(each.from)} to ${time(each.to)}`);
  }
  if (late.length > mostNamed) lines.push(`          and ${late.length - mostNamed} other symbols`);
  return lines;
}

/** Joins both by symbol. */
function union(a: readonly LateTrades[], b: readonly LateTrades[]): readonly LateTrades[] {
  const all = new Map<string, LateTrades>();
  for (const each of [...a, ...b]) {
    const key = symbolId(each);
    const known = all.get(key);
    all.set(
      key,
      known === undefined ? each : { ...known, from: Math.min(known.from, each.from), to: Math.max(known.to, each.to) },
    );
  }
  return [...all.values()];
}

function total(late: readonly LateTrades[]): number {
  return late.reduce((sum, { trades }) => sum + trades, 0);
}

function time(millis: number): string {
  return new Date(millis).toISOString();
}

function seconds(millis: number): string {
  return `${count(Math.ceil(millis / 1000))} s`;
}

/** Quotes a word for a shell. */
function quoted(word: string): string {
  return /^[\w./:@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
