import {
  type Context,
  defineProcessor,
  type Fold,
  type InputRecord,
  type Processor,
  type TableRecord,
} from '../../core/processor/define.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { Rule as RuleRecord } from '../../schemas/gen/rule.ts';
import type { RuleKey } from '../../schemas/gen/rule_key.ts';
import { RuleBook } from './book.ts';
import { CandleJudge } from './candles.ts';
import { Histories } from './history.ts';
import { Anomalies } from './life.ts';
import type { Rule } from './rules/rule.ts';
import { type AnomalySettings, builtInRules, revisableCandles } from './settings.ts';
import { anomalyStores, candleStore, levelStore, ruleStore, saidStore } from './state.ts';
import { type TradeNews, tradeNewsSchema } from './trade-schema.ts';
import { TradeWatch, tradesTopic } from './trades.ts';

/** Version in the provenance. Raise it when equal candles and trades would give other anomalies. */
const VERSION = '2';

/**
 * Processor from candles and trades to anomalies. Its rules are data: those of the topic `rules`, and the built-in rule of the settings.
 *
 * @param instead rules that apply while the topic has none; default: the built-in rule.
 * @throws MillraceError CONFIG_INVALID: names the setting.
 */
export function anomaly(settings: AnomalySettings, instead?: readonly Rule[]): Processor<Candle | TradeNews> {
  const builtIn = instead ?? builtInRules(settings);
  const revisable = revisableCandles(settings);
  return defineProcessor<Candle | TradeNews>({
    name: 'anomaly',
    version: VERSION,
    inputs: [
      { topic: 'market.candles', schema: schemas.candle, kind: 'derived' },
      {
        topic: tradesTopic,
        schema: tradeNewsSchema,
        kind: 'change',
        primaryKey: ['venue', 'symbol', 'trade_id'],
      },
    ],
    tables: [{ topic: 'rules', keySchema: schemas.rule_key, schema: schemas.rule }],
    outputs: [
      { topic: 'market.anomalies', keySchema: schemas.anomaly_key, valueSchema: schemas.anomaly },
      { topic: 'anomaly.late', keySchema: schemas.candle_key, valueSchema: schemas.candle },
    ],
    stores: anomalyStores,
    settings: { value: settings, remake: (value) => anomaly(value, instead) },
    create: (context) => new AnomalyFold(context, builtIn, revisable),
  });
}

class AnomalyFold implements Fold<Candle | TradeNews> {
  readonly #context: Context<Candle | TradeNews>;
  readonly #book: RuleBook;
  readonly #histories: Histories;
  readonly #anomalies: Anomalies;
  readonly #candles: CandleJudge;
  readonly #trades: TradeWatch;

  constructor(context: Context<Candle | TradeNews>, builtIn: readonly Rule[], revisable: number) {
    this.#context = context;
    this.#book = new RuleBook(context.store(ruleStore.name), builtIn);
    this.#histories = new Histories(context.store(candleStore.name));
    this.#anomalies = new Anomalies(context, context.store(saidStore.name));
    this.#trades = new TradeWatch(context, this.#book, this.#anomalies);
    this.#candles = new CandleJudge({
      context,
      book: this.#book,
      histories: this.#histories,
      anomalies: this.#anomalies,
      levels: context.store(levelStore.name),
      revisable,
    });
  }

  restored(): void {
    this.#book.restored();
    this.#histories.restored();
    this.#trades.restored();
  }

  record(record: InputRecord<Candle | TradeNews>): void {
    if (record.topic === tradesTopic) this.#trades.record(record as InputRecord<TradeNews>);
    else this.#candles.record(record as InputRecord<Candle>);
  }

  table({ key, value, offset }: TableRecord): void {
    const { id } = key as RuleKey;
    const range = this.#histories.range();
    const [since, oldest] = range === undefined ? [0n, 0n] : [range.newest + 1n, range.oldest];
    this.#book.apply(id, value as RuleRecord | null, { offset, since, oldest });
    this.#trades.changed(id);
  }

  deadline(): bigint | undefined {
    return this.#trades.deadline();
  }

  /** A candle's log time may be ahead of the trades, so only trades and heartbeats advance the time of silence rules. */
  advance(by?: string): void {
    if (by === undefined) this.#trades.advance(this.#context.logTime);
  }

  gauges(): Readonly<Record<string, number>> {
    return { keys: this.#histories.size, rules: this.#book.size, stalled: this.#trades.stalled };
  }
}
