import { measure, type Traded } from './measure.ts';
import type { Threshold } from './rule.ts';
import { decimal, type Verdict } from './verdict.ts';

/** Level of one candle: beyond the limit, back beyond `clear`, or neither. */
export function levelOf(rule: Threshold, candle: Traded): 'beyond' | 'clear' | undefined {
  const value = measure(rule.of, candle);
  if (value === undefined) return undefined;
  const [limit, clear] =
    rule.side === 'above' ? [value > rule.limit, value < rule.clear] : [value < rule.limit, value > rule.clear];
  if (limit) return 'beyond';
  return clear ? 'clear' : undefined;
}

/**
 * A crossing of the limit: the candle is beyond it, and the rule was not `active`. The rule stays active until a candle is beyond `clear`
 * on the other side. So a measure that oscillates around the limit gives one anomaly. A value equal to the limit or to `clear` changes
 * nothing.
 */
export function threshold(rule: Threshold, candle: Traded, active: () => boolean): Verdict | undefined {
  const value = measure(rule.of, candle);
  if (value === undefined) return undefined;
  return {
    fires: levelOf(rule, candle) === 'beyond' && !active(),
    details: () => ({
      explanation: `${rule.of} ${decimal(value)} went ${rule.side} ${decimal(rule.limit)} (and is clear again ${rule.side === 'above' ? 'below' : 'above'} ${decimal(rule.clear)})`,
      figures: [
        { name: rule.of, value: decimal(value), limit: decimal(rule.limit) },
        { name: 'clear', value: decimal(rule.clear), limit: null },
      ],
      baseline: [],
    }),
  };
}
