import type { Alias } from '../../schemas/gen/alias.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { type Log, readRange } from '../log/log.ts';

const aliasesTopic = 'aliases';
const writerId = 'millrace.aliases';

/** By the name that readers use. @throws MillraceError TOPIC_MISSING, KAFKA_UNREACHABLE, REGISTRY_UNREACHABLE */
export async function readAliases(log: Log, schemas: Schemas): Promise<ReadonlyMap<string, Alias>> {
  const decoder = new AvroDecoder<Alias>(schemas, contracts.alias);
  const aliases = new Map<string, Alias>();
  const [[from = 0n], [to = 0n]] = await Promise.all([log.starts(aliasesTopic), log.ends(aliasesTopic)]);
  const range = { topic: aliasesTopic, partition: 0, from, to };
  for await (const records of readRange(log, range, { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 })) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    for (const { key, value } of records) {
      if (value === null) aliases.delete(key?.toString('utf8') ?? '');
      else {
        const alias = decoder.decode(value);
        aliases.set(alias.name, alias);
      }
    }
  }
  return aliases;
}

/** The topic that stands for this one now: itself, without an alias. */
export async function resolveTopic(log: Log, schemas: Schemas, name: string): Promise<string> {
  return (await readAliases(log, schemas)).get(name)?.target ?? name;
}

/** Sets several aliases at once, all or none. A target that is the name itself takes the alias back. */
export async function setAliases(
  log: Log,
  schemas: Schemas,
  aliases: readonly { readonly name: string; readonly target: string }[],
  nowMicros: bigint,
): Promise<void> {
  const encoder = await AvroEncoder.open<Alias>(schemas, `${aliasesTopic}-value`, contracts.alias);
  await using writer = await log.writer(writerId);
  await writer.transact({
    records: aliases.map(({ name, target }) => ({
      topic: aliasesTopic,
      partition: 0,
      key: Buffer.from(name),
      value: name === target ? null : encoder.encode({ name, target, swapped_at: nowMicros }),
      timestamp: nowMicros / 1000n,
    })),
  });
}
