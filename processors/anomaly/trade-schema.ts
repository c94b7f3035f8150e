import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';

/** Fields of a trade that rules read. */
const wanted = ['venue', 'symbol', 'trade_id', 'venue_sequence', 'executed_at'] as const;

/** A change of a trade with only the fields that rules read: the decoder skips the others. */
export interface TradeNews extends Omit<TradeChange, 'before' | 'after'> {
  readonly before: Pick<TradeRow, (typeof wanted)[number]> | null;
  readonly after: Pick<TradeRow, (typeof wanted)[number]> | null;
}

/** Reader schema of `TradeNews`. */
export const tradeNewsSchema: object = {
  ...schemas.trade_change,
  fields: schemas.trade_change.fields.map((field) =>
    field.name === 'before' ? { ...field, type: ['null', narrow(field.type[1])] } : field,
  ),
};

function narrow(row: { readonly fields: readonly { readonly name: string }[] }): object {
  const names: readonly string[] = wanted;
  return { ...row, fields: row.fields.filter(({ name }) => names.includes(name)) };
}
