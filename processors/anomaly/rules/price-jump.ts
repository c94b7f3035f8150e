import { divide, PRICE_SCALE, pow10 } from '../../../core/values/decimal.ts';
import type { Traded } from './measure.ts';
import type { PriceJump } from './rule.ts';
import { absolute, agrees, decimal, percentText, signedPercent, type Verdict } from './verdict.ts';

const ONE = pow10(PRICE_SCALE);

/**
 * Price jump: |close − previous close| / previous close > move, compared by cross-multiplication, so exactly the move does not fire. No
 * verdict without a previous candle, or if its close is zero or below.
 */
export function priceJump(rule: PriceJump, candle: Traded, baseline: readonly Traded[]): Verdict | undefined {
  const before = baseline.at(-1);
  if (before === undefined || before.close <= 0n) return undefined;
  const move = candle.close - before.close;
  return {
    fires: agrees(rule.direction, move) && absolute(move) * ONE > rule.move * before.close,
    details: () => {
      const change = divide(move, PRICE_SCALE, before.close, PRICE_SCALE, PRICE_SCALE);
      return {
        explanation: `the close moved from ${decimal(before.close)} to ${decimal(candle.close)}, by ${signedPercent(change)} (limit ${percentText(rule.move)})`,
        figures: [
          { name: 'close_before', value: decimal(before.close), limit: null },
          { name: 'close', value: decimal(candle.close), limit: null },
          { name: 'price_change', value: decimal(change), limit: decimal(rule.move) },
        ],
        baseline: [before],
      };
    },
  };
}
