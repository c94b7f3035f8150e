/** The event time before which candles are frozen, from the committed state of `ohlcv`. */
import type { Config } from '../../core/base/config.ts';
import { dispositionOf, isError, MillraceError } from '../../core/base/errors.ts';
import { partitionOf } from '../../core/capture/routing.ts';
import type { Log } from '../../core/log/log.ts';
import { watermarkAt } from '../../core/processor/watermark.ts';
import { type KeyProgress, keyStore } from '../../core/processor/windows/aggregation.ts';
import { changelogTopic } from '../../core/state/changelog/changelog.ts';
import { readCommitted } from '../../core/state/shown/committed.ts';
import { ValueCodec } from '../../core/state/stores/value.ts';
import { readSymbolKey } from '../../processors/trade-key.ts';
import { type SymbolName, symbolId } from '../../storage/load/order/survey.ts';
import { withLog } from '../stack/log.ts';

const processor = 'ohlcv';

/**
 * As `frozenTimes`, with the configured Kafka. @returns undefined if Kafka cannot be reached, or another version of Millrace wrote the
 * state
 */
export async function askCandles(
  config: Config,
  symbols: readonly SymbolName[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number> | undefined> {
  try {
    return await withLog(config, (log) => frozenTimes(log, symbols, Date.now(), signal));
  } catch (error) {
    signal.throwIfAborted();
    if (dispositionOf(error) === 'retry' || isError(error, 'STATE_VERSION')) return undefined;
    throw error;
  }
}

/**
 * By `symbolId`, milliseconds since 1970. At `nowMs`, a trade before this time joins no window that ends before it. A symbol's watermark
 * moves with log time, also without a load. Symbols without candles are left out.
 */
export async function frozenTimes(
  log: Log,
  symbols: readonly SymbolName[],
  nowMs: number,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const frozen = new Map<string, number>();
  const wanted = new Set(symbols.map(symbolId));
  const codec = new ValueCodec<KeyProgress>(keyStore);
  for (const partition of await partitionsOf(log, symbols)) {
    for await (const { entries } of readCommitted(log, { processor, partition, store: keyStore.name, signal })) {
      for (const { key, bytes } of entries) {
        const [venue, symbol] = readSymbolKey(key);
        const id = symbolId({ venue, symbol });
        if (!wanted.has(id)) continue;
        const progress = codec.decode(key, bytes).value;
        const until = Math.max(watermarkAt(progress, nowMs * 1000) - progress.horizon, progress.frozen);
        frozen.set(id, Math.floor(until / 1000));
      }
    }
  }
  return frozen;
}

/** Partitions of the changelog with these symbols; none if `ohlcv` never ran. */
async function partitionsOf(log: Log, symbols: readonly SymbolName[]): Promise<ReadonlySet<number>> {
  try {
    const { length } = await log.ends(changelogTopic(processor));
    return new Set(symbols.map(({ venue, symbol }) => partitionOf([venue, symbol], length)));
  } catch (error) {
    if (error instanceof MillraceError && error.code === 'TOPIC_MISSING') return new Set();
    throw error;
  }
}
