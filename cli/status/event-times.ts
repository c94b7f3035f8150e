/** The event time of a record from any stage's input, for every schema. */
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { parseTimestamp } from '../../core/values/time.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { topic as entryOf, isTopic } from '../../schemas/topics.ts';
import type { EventTimeOf } from './stages.ts';

/**
 * For trades the execution time, for candles and anomalies the start of their window, for features their time. Undefined for an unreadable
 * record.
 */
export function eventTimes(schemas: Schemas): EventTimeOf {
  const decoders = new Map<string, AvroDecoder<unknown>>();
  return async (topic, { value }) => {
    const name = isTopic(topic) ? entryOf(topic).value : null;
    if (value === null || name === null) return undefined;
    const decoder = decoders.get(topic) ?? new AvroDecoder<unknown>(schemas, contracts[name]);
    decoders.set(topic, decoder);
    try {
      await decoder.prepare(decoder.missing([value]));
      return eventTimeOf(decoder.decode(value));
    } catch (error) {
      if (error instanceof MillraceError && error.disposition === 'deadLetter') return undefined;
      throw error;
    }
  };
}

function eventTimeOf(value: unknown): bigint | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if ('window_start' in value) return value.window_start as bigint;
  if ('as_of' in value) return value.as_of as bigint;
  const { after, before } = value as TradeChange;
  const executedAt = (after ?? before)?.executed_at;
  return executedAt === undefined ? undefined : parseTimestamp(executedAt);
}
