import type { ControlEntry } from '../../schemas/gen/control_entry.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { type Log, readRange } from '../log/log.ts';
import { controlTopic, Standing } from '../runtime/control.ts';

const writerId = 'millrace.control';

/** What is paused by order of operators, as of now. @throws MillraceError TOPIC_MISSING, KAFKA_UNREACHABLE, REGISTRY_UNREACHABLE */
export async function readControl(log: Log, schemas: Schemas): Promise<readonly ControlEntry[]> {
  const decoder = new AvroDecoder<ControlEntry>(schemas, contracts.control_entry);
  const standing = new Standing();
  const [[from = 0n], [to = 0n]] = await Promise.all([log.starts(controlTopic), log.ends(controlTopic)]);
  const range = { topic: controlTopic, partition: 0, from, to };
  for await (const records of readRange(log, range, { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 })) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    for (const record of records) standing.take(record, decoder);
  }
  return standing.entries();
}

export interface Order {
  readonly name: string;
  /** Null: all partitions. */
  readonly partition: number | null;
}

/** Orders tasks to pause. They do so within a second, wherever they run, and stay paused over restarts. */
export async function pause(
  log: Log,
  schemas: Schemas,
  { name, partition, reason, nowMicros }: Order & { readonly reason: string | null; readonly nowMicros: bigint },
): Promise<void> {
  const encoder = await AvroEncoder.open<ControlEntry>(schemas, `${controlTopic}-value`, contracts.control_entry);
  const value = encoder.encode({ name, partition, reason, paused_at: nowMicros });
  await write(log, [{ name, partition }], value, nowMicros);
}

/** Takes orders back. Resuming all partitions takes back the orders to single ones, too. Returns what was taken back. */
export async function resume(
  log: Log,
  schemas: Schemas,
  { name, partition, nowMicros }: Order & { readonly nowMicros: bigint },
): Promise<readonly ControlEntry[]> {
  const entries = await readControl(log, schemas);
  const taken = entries.filter((entry) => entry.name === name && (partition === null || entry.partition === partition));
  if (taken.length > 0) await write(log, taken, null, nowMicros);
  return taken;
}

async function write(log: Log, orders: readonly Order[], value: Buffer | null, nowMicros: bigint): Promise<void> {
  await using writer = await log.writer(writerId);
  const timestamp = nowMicros / 1000n;
  await writer.transact({
    records: orders.map((order) => ({
      topic: controlTopic,
      partition: 0,
      key: Buffer.from(Standing.key(order)),
      value,
      timestamp,
    })),
  });
}
