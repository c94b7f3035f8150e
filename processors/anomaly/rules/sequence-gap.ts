import type { Gap, NumberRange, SeenTrade, Sequence } from '../state.ts';
import type { Active, SequenceGap } from './rule.ts';
import type { Details } from './verdict.ts';

/** Open gaps kept for each symbol; older gaps become final. */
const MOST_GAPS = 100;
/** Limit of pieces into which late trades may split one gap; beyond it the gap becomes final. */
const MOST_PIECES = 1_000;

/** Result of one sequence number: the new state, and the gaps that are new, smaller or final. */
export interface SequenceUpdate {
  readonly sequence: Sequence;
  readonly opened?: Gap;
  readonly changed?: Gap;
  readonly dropped: readonly Gap[];
}

/**
 * Applies the venue's sequence number of a trade. A number above the next expected one opens a gap. A late number fills its place in an
 * open gap. A number that was seen already, or belongs to no open gap, changes nothing.
 */
export function takeNumber(
  active: Active<SequenceGap>,
  before: Sequence | undefined,
  number: bigint,
  day: number,
  trade: SeenTrade,
): SequenceUpdate {
  const { rule, version } = active;
  if (before === undefined || (rule.restarts === 'daily' && day > before.day)) {
    return { sequence: { last: number, day, trade, gaps: before?.gaps ?? [] }, dropped: [] };
  }
  if (rule.restarts === 'daily' && day < before.day) return { sequence: before, dropped: [] };
  if (number <= before.last) return fill(before, number);
  const next: Sequence = { last: number, day, trade, gaps: before.gaps };
  if (number - before.last - 1n < rule.missing) return { sequence: next, dropped: [] };
  const opened: Gap = {
    version,
    severity: rule.severity,
    least: rule.missing,
    before: before.trade,
    after: trade,
    low: before.last,
    high: number,
    missing: [{ from: before.last + 1n, to: number - 1n }],
  };
  const gaps = [...before.gaps, opened];
  const excess = Math.max(0, gaps.length - MOST_GAPS);
  return { sequence: { ...next, gaps: gaps.slice(excess) }, opened, dropped: gaps.slice(0, excess) };
}

/** Count of missing numbers. */
export function missingCount({ missing }: Gap): bigint {
  return missing.reduce((sum, { from, to }) => sum + to - from + 1n, 0n);
}

export function gapDetails(gap: Gap): Details {
  const count = missingCount(gap);
  const numbers = gap.missing.slice(0, 3).map(({ from, to }) => (from === to ? `${from}` : `${from} to ${to}`));
  const which = `${numbers.join(', ')}${gap.missing.length > 3 ? ', …' : ''}`;
  return {
    explanation:
      count === 0n
        ? `all numbers between ${gap.low} and ${gap.high} came late`
        : `the venue's sequence went from ${gap.low} to ${gap.high}: ${count} missing (${which})`,
    figures: [
      { name: 'before', value: `${gap.low}`, limit: null },
      { name: 'after', value: `${gap.high}`, limit: null },
      { name: 'missing', value: `${count}`, limit: `${gap.least}` },
    ],
    baseline: [],
  };
}

function fill(before: Sequence, number: bigint): SequenceUpdate {
  const at = before.gaps.findIndex(({ missing }) => missing.some(({ from, to }) => from <= number && number <= to));
  const gap = before.gaps[at];
  if (gap === undefined) return { sequence: before, dropped: [] };
  const changed = { ...gap, missing: gap.missing.flatMap((piece) => without(piece, number)) };
  const over = changed.missing.length === 0 || changed.missing.length > MOST_PIECES;
  const gaps = over ? before.gaps.toSpliced(at, 1) : before.gaps.with(at, changed);
  return { sequence: { ...before, gaps }, changed, dropped: over ? [changed] : [] };
}

function without({ from, to }: NumberRange, number: bigint): NumberRange[] {
  if (number < from || number > to) return [{ from, to }];
  const pieces = [
    { from, to: number - 1n },
    { from: number + 1n, to },
  ];
  return pieces.filter((piece) => piece.from <= piece.to);
}
