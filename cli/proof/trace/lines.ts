/** Text of traces: labelled, aligned lines. */
import { formatTimestamp } from '../../../core/values/time.ts';
import type { RevisionView } from '../../../proof/trace/candle/revisions.ts';
import type { ManifestView } from '../../../proof/trace/object/manifest.ts';
import type { SearchedRange, TraceFinding } from '../../../proof/trace/trail.ts';

/** Lines with a label in the first: `label first` and ` second`. */
export function labelled(label: string, lines: readonly string[], indent = 2, width = 10): string[] {
  return lines.map((line, i) => `${' '.repeat(indent)}${(i === 0 ? label : '').padEnd(width)}${line}`.trimEnd());
}

/** Columns of equal width, without a header. */
export function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

export function at({ topic, partition, offset }: { topic: string; partition: number; offset: bigint }): string {
  return `${topic}/${partition} offset ${offset}`;
}

/** Formats microseconds; a fraction of zeros is left out. */
export function instant(micros: bigint): string {
  return shorter(formatTimestamp(micros));
}

export function shorter(timestamp: string): string {
  return timestamp.replace(/\.?0*Z$/, 'Z');
}

/** `price 100.5 size 2 side buy`: values of a row, numbers without trailing zeros. */
export function values(row: Readonly<Record<string, string | null>>, but: readonly string[] = []): string {
  return Object.entries(row)
    .filter(([name, value]) => value !== null && !but.includes(name))
    .map(([name, value]) => `${name} ${readable(value as string)}`)
    .join('  ');
}

function readable(value: string): string {
  if (/^-?\d+\.\d+$/.test(value)) return value.replace(/\.?0+$/, '');
  if (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return shorter(value);
  return /^[\x21-\x7e]+$/.test(value) ? value : JSON.stringify(value);
}

/** `CLOSED#1`, then its reason, its position and its input. */
export function revision({
  status,
  revision: number,
  reason,
  topic,
  partition,
  offset,
  input,
}: RevisionView): string[] {
  const made = input === null ? 'no input' : `input ${input.from}–${input.to}`;
  return [`${status}#${number}`, reason, `${topic}/${partition} offset ${offset}`, made];
}

/** `manifest 3 lists it; the day is COMPLETE, revision 1` */
export function manifestLine(manifest: ManifestView | null): string {
  if (manifest === null) return 'the day has no manifest yet';
  const { number, lists, state, revision } = manifest;
  return `manifest ${number} ${lists ? 'lists it' : 'does not list it'}; the day is ${state}, revision ${revision}`;
}

export function searchedLines(searched: readonly SearchedRange[]): string[] {
  return aligned(
    searched.map(({ where, from, to, records, found, note }) => [
      where,
      from === null || to === null ? '' : `offsets ${from}–${to}`,
      where.startsWith('Postgres') ? (found > 0 ? 'found' : 'not found') : `${found} of ${records}`,
      note ?? '',
    ]),
  );
}

const signs: Readonly<Record<TraceFinding['kind'], string>> = { difference: '✗', pending: '…', gone: '–' };

/** The verdict with all findings. */
export function findingLines(findings: readonly TraceFinding[], equal: string): string[] {
  const differences = findings.filter(({ kind }) => kind === 'difference').length;
  const lines = findings.map(({ kind, what }) => `${signs[kind]} ${what}`);
  const verdict =
    differences === 0
      ? `✓ ${equal}, 0 differences`
      : `✗ ${differences} ${differences === 1 ? 'difference' : 'differences'}`;
  return [...lines, verdict];
}
