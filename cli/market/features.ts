/** Rows of features in the topic, by key and time. */
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { partitionOf } from '../../core/capture/routing.ts';
import type { Log, LogRecord } from '../../core/log/log.ts';
import { readRaw } from '../../proof/reading/topic.ts';
import type { Features } from '../../schemas/gen/features.ts';
import type { FeaturesKey } from '../../schemas/gen/features_key.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';

const topic = 'market.features';

export interface FeaturesQuery {
  readonly symbol: string;
  /** Default: every venue with the symbol. */
  readonly venue?: string;
  /** Default: every feature set. */
  readonly set?: string;
  /** Microseconds: the latest row at or before this time. Default: the latest. */
  readonly at?: bigint;
  readonly signal?: AbortSignal;
}

/**
 * The latest row of each venue and feature set at or before a time, ordered by venue and set. It decodes the keys of the topic, or of one
 * partition if the venue is known, and the values of the returned rows. So it is for commands and not for services.
 *
 * @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING, REGISTRY_UNREACHABLE
 */
export async function readFeatures(log: Log, schemas: Schemas, query: FeaturesQuery): Promise<Features[]> {
  const keys = new AvroDecoder<FeaturesKey>(schemas, contracts.features_key);
  const values = new AvroDecoder<Features>(schemas, contracts.features);
  const latest = new Map<string, { readonly key: FeaturesKey; readonly value: Buffer }>();

  const take = ({ key: bytes, value }: LogRecord): void => {
    if (bytes === null || value === null) return;
    const key = keys.decode(bytes);
    if (!wanted(key, query)) return;
    const place = JSON.stringify([key.venue, key.feature_set]);
    const known = latest.get(place);
    if (known === undefined || key.as_of >= known.key.as_of) latest.set(place, { key, value });
  };

  for await (const { records } of readRaw(log, topic, query.signal, await rangeOf(log, query))) {
    const missing = keys.missing(records.map(({ key }) => key));
    if (missing.length > 0) await keys.prepare(missing);
    for (const record of records) take(record);
  }
  const found = [...latest].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { value }]) => value);
  const missing = values.missing(found);
  if (missing.length > 0) await values.prepare(missing);
  return found.map((value) => values.decode(value));
}

/** The single partition with the symbol's rows, which is that of its trades. */
async function rangeOf(log: Log, { venue, symbol }: FeaturesQuery) {
  if (venue === undefined) return undefined;
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  const partition = partitionOf([venue, symbol], ends.length);
  return { partition, from: starts[partition] ?? 0n, to: ends[partition] ?? 0n };
}

function wanted(key: FeaturesKey, { symbol, venue, set, at }: FeaturesQuery): boolean {
  return (
    key.symbol === symbol &&
    (venue === undefined || key.venue === venue) &&
    (set === undefined || key.feature_set === set) &&
    (at === undefined || key.as_of <= at)
  );
}
