import { definePattern, type Pattern } from '../../../core/processor/pattern/pattern.ts';
import type { SeenTrade, Stall } from '../state.ts';
import type { StaleFeed } from './rule.ts';
import { type Details, timeText } from './verdict.ts';

/** Pattern: a trade without a further trade for the given log time. Times are log times. Each trade starts a new match. */
export function stalePattern({ id, after }: StaleFeed): Pattern<SeenTrade> {
  return definePattern({
    name: id,
    steps: [
      { name: 'last trade', where: () => true },
      { name: 'silence', absent: () => true, for: after },
    ],
    within: after,
    afterMatch: 'skip past last',
  });
}

/** Figures of a stale feed; `next` is the trade that ended the silence. */
export function staleDetails({ after, last }: Stall, next?: SeenTrade): Details {
  const limit = seconds(after);
  const since = { name: 'last_trade', value: timeText(last.log_time), limit: null };
  if (next === undefined) {
    return {
      explanation: `no trade for ${limit} s since trade ${last.id}, committed at ${timeText(last.log_time)}`,
      figures: [since, { name: 'silence_s', value: `at least ${limit}`, limit }],
      baseline: [],
    };
  }
  const silence = seconds(next.log_time - last.log_time);
  return {
    explanation: `no trade for ${silence} s (limit ${limit} s), from trade ${last.id} to trade ${next.id}, committed at ${timeText(next.log_time)}`,
    figures: [
      since,
      { name: 'next_trade', value: timeText(next.log_time), limit: null },
      { name: 'silence_s', value: silence, limit },
    ],
    baseline: [],
  };
}

/** Decimal text of microseconds in seconds. */
function seconds(micros: bigint): string {
  const sign = micros < 0n ? '-' : '';
  const digits = (micros < 0n ? -micros : micros).toString().padStart(7, '0');
  return `${sign}${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, '');
}
