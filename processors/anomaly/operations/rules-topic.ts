import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import { type Log, type LogRecord, type OutRecord, readRange } from '../../../core/log/log.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { Rule as RuleRecord } from '../../../schemas/gen/rule.ts';
import type { RuleKey } from '../../../schemas/gen/rule_key.ts';

const topic = 'rules';
const writerId = 'millrace.rules';

/** A rule with its place in the topic. */
export interface StoredRule {
  readonly rule: RuleRecord;
  /** Offset of the record: the rule's version. */
  readonly offset: bigint;
  /** Time of the record, milliseconds. */
  readonly timestamp: bigint;
}

/** Present rules of the topic, sorted by id. @throws MillraceError TOPIC_MISSING, KAFKA_UNREACHABLE, REGISTRY_UNREACHABLE */
export async function readRules(log: Log, schemas: Schemas): Promise<readonly StoredRule[]> {
  const { rules } = await read(log, schemas);
  return [...rules.values()].sort((a, b) => (a.rule.id < b.rule.id ? -1 : 1));
}

/** Puts rules in force, all in one transaction. Returns the offset of the first. */
export async function applyRules(
  log: Log,
  schemas: Schemas,
  rules: readonly RuleRecord[],
  nowMs: number,
): Promise<bigint> {
  const [keys, values, { keysOf }] = await Promise.all([
    AvroEncoder.open<RuleKey>(schemas, `${topic}-key`, contracts.rule_key),
    AvroEncoder.open<RuleRecord>(schemas, `${topic}-value`, contracts.rule),
    read(log, schemas),
  ]);
  const timestamp = BigInt(nowMs);
  const records = rules.map((rule) => ({
    topic,
    partition: 0,
    key: keys.encode({ id: rule.id }),
    value: values.encode(rule),
    timestamp,
  }));
  // With another schema id, the key of the same rule has other bytes, and compaction would keep both records.
  const stale = records.flatMap(({ key }, at) =>
    (keysOf.get(rules[at]?.id ?? '') ?? [])
      .filter((known) => !known.equals(key))
      .map((known) => tombstone(known, timestamp)),
  );
  const base = await write(log, [...stale, ...records]);
  return base + BigInt(stale.length);
}

/** Removes rules. Returns the ids that existed. */
export async function removeRules(
  log: Log,
  schemas: Schemas,
  ids: readonly string[],
  nowMs: number,
): Promise<readonly string[]> {
  const { rules, keysOf } = await read(log, schemas);
  const known = ids.filter((id) => rules.has(id));
  const records = known.flatMap((id) => (keysOf.get(id) ?? []).map((key) => tombstone(key, BigInt(nowMs))));
  if (records.length > 0) await write(log, records);
  return known;
}

async function read(log: Log, schemas: Schemas) {
  const keyDecoder = new AvroDecoder<RuleKey>(schemas, contracts.rule_key);
  const valueDecoder = new AvroDecoder<RuleRecord>(schemas, contracts.rule);
  const rules = new Map<string, StoredRule>();
  const keysOf = new Map<string, Buffer[]>();
  const [[from = 0n], [to = 0n]] = await Promise.all([log.starts(topic), log.ends(topic)]);
  for await (const records of readRange(
    log,
    { topic, partition: 0, from, to },
    { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 },
  )) {
    await prepare(
      keyDecoder,
      records.map(({ key }) => key),
    );
    await prepare(
      valueDecoder,
      records.map(({ value }) => value),
    );
    for (const { key, value, offset, timestamp } of records) {
      if (key === null) continue;
      const { id } = keyDecoder.decode(key);
      const keys = keysOf.get(id) ?? [];
      if (!keys.some((each) => each.equals(key))) keysOf.set(id, [...keys, key]);
      if (value === null) rules.delete(id);
      else rules.set(id, { rule: valueDecoder.decode(value), offset, timestamp });
    }
  }
  return { rules, keysOf };
}

async function prepare(decoder: AvroDecoder<unknown>, values: readonly LogRecord['value'][]): Promise<void> {
  const missing = decoder.missing(values);
  if (missing.length > 0) await decoder.prepare(missing);
}

function tombstone(key: Buffer, timestamp: bigint): OutRecord {
  return { topic, partition: 0, key, value: null, timestamp };
}

async function write(log: Log, records: readonly OutRecord[]): Promise<bigint> {
  await using writer = await log.writer(writerId);
  const [written] = await writer.transact({ records });
  return written?.baseOffset ?? 0n;
}
