/** A processor with its state on disk, made for these tests: how often each trade was changed, told anew at each change. */
import type { Processor } from '../../../core/processor/define.ts';
import { tradesTopic } from '../../../proof/reading/topic.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';

export interface Tally {
  readonly trade: string;
  readonly changes: bigint;
}

export const tallySchema = {
  type: 'record',
  name: 'Tally',
  namespace: 'millrace.faults',
  fields: [
    { name: 'trade', type: 'string' },
    { name: 'changes', type: 'long' },
  ],
};

export const tallyTopic = 'tally.counts';

const tradeOf = ({ before, after }: TradeChange): string => {
  const row = after ?? before;
  return row === null ? '' : `${row.venue} ${row.symbol} ${row.trade_id}`;
};

export const tally: Processor<TradeChange> = {
  name: 'tally',
  version: '1',
  inputs: [
    {
      topic: tradesTopic,
      schema: contracts.trade_change,
      kind: 'change',
      primaryKey: ['venue', 'symbol', 'trade_id'],
    },
  ],
  outputs: [{ topic: tallyTopic, keySchema: null, valueSchema: tallySchema }],
  stores: [{ name: 'tallies', schema: tallySchema, disk: { keys: ({ value }) => [tradeOf(value)] } }],
  create(context) {
    const tallies = context.store<Tally>('tallies');
    return {
      record({ value }) {
        const trade = tradeOf(value);
        const next = { trade, changes: (tallies.get(trade)?.changes ?? 0n) + 1n };
        tallies.set(trade, next);
        context.emit(tallyTopic, null, next);
      },
    };
  },
};
