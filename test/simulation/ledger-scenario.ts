import { AvroDecoder } from '../../core/avro/decoder.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { MemorySchemas } from '../../core/avro/memory.ts';
import type { OutRecord } from '../../core/runtime/log.ts';
import type { Random } from '../../core/testing/simulation/random.ts';
import type { Scenario, SourceStep } from '../../core/testing/simulation/scenario.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { badAmount, type EntryChange, ledger, ledgerSchemas, period } from './ledger.ts';
import { LedgerChecker } from './ledger-checker.ts';
import { Postgres } from './postgres.ts';

export const entriesTopic = 'cdc.public.entries';
const heartbeatTopic = 'cdc.public.heartbeat';
const accounts = 7;

/** Made once: it is what a registry holds, and costs more than a run. */
const shared = (async () => {
  const schemas = new MemorySchemas();
  const encoder = await AvroEncoder.open<EntryChange>(schemas, `${entriesTopic}-value`, ledgerSchemas.change);
  const decoder = new AvroDecoder<unknown>(schemas, null);
  const ids: number[] = [encoder.schemaId];
  for (const schema of [ledgerSchemas.booked, ledgerSchemas.statement, ledgerSchemas.repeated, contracts.dead_letter])
    ids.push(await schemas.register('', schema));
  await decoder.prepare(ids);
  return { schemas, encoder, decoder };
})();

/** A ledger of accounts under a source that interleaves transactions, delivers again, writes garbage and aborts. */
export async function ledgerScenario(random: Random, stormMs: number): Promise<Scenario> {
  const { schemas, encoder, decoder } = await shared;
  const partitions = random.pick([1, 2, 3]);
  const source = entries(random, stormMs, partitions, (change) => encoder.encode(change));
  const checker = new LedgerChecker(partitions, (bytes) => decoder.decode(bytes));
  return {
    processors: [
      {
        processor: ledger(),
        settings: {
          commitIntervalMs: random.pick([20, 100, 400]),
          commitRecords: random.pick([3, 10, 50]),
        },
        queueRecords: random.pick([5, 40, 1_000]),
        heartbeats: true,
      },
    ],
    partitions,
    source,
    heartbeatTopic,
    lastBeat: (nth) => beat(farFuture + BigInt(nth) * period),
    readBeat: (value) => BigInt(value.toString()),
    schemas,
    glance: (view) => checker.glance(view),
    verdict: (view) => checker.verdict(view),
  };
}

const epoch = 1_700_000_000_000_000n;
const farFuture = epoch + 36_000_000_000n;

function beat(logTime: bigint): OutRecord {
  const value = Buffer.from(`${logTime}`);
  return { topic: heartbeatTopic, partition: 0, key: null, value, timestamp: logTime / 1_000n };
}

function entries(
  random: Random,
  stormMs: number,
  partitions: number,
  encode: (change: EntryChange) => Buffer,
): readonly SourceStep[] {
  const postgres = new Postgres(random, epoch);
  const steps: SourceStep[] = [];
  const written: { readonly account: number; readonly change: EntryChange }[] = [];
  const sent: OutRecord[] = [];
  let serial = 0;
  const toRecord = (account: number, change: EntryChange): OutRecord => ({
    topic: entriesTopic,
    partition: account % partitions,
    key: Buffer.from(`a${account}`),
    value: encode(change),
    timestamp: change.source.ts_us / 1_000n,
  });
  const transaction = (): OutRecord[] =>
    postgres.transaction(random.int(1, 6)).map((source) => {
      const cancelled = random.chance(0.15) ? written[random.int(0, written.length - 1)] : undefined;
      const account = cancelled?.account ?? random.int(0, accounts - 1);
      const amount = random.chance(0.04) ? badAmount : BigInt(random.int(14, 5_000));
      const row = cancelled?.change.after ?? { account: `a${account}`, id: `e${serial++}`, amount };
      const change: EntryChange =
        cancelled === undefined
          ? { op: 'c', before: null, after: row, source }
          : { op: 'd', before: row, after: null, source };
      if (cancelled === undefined) written.push({ account, change });
      return toRecord(account, change);
    });
  for (let atMs = random.int(0, 400); atMs < stormMs; atMs += random.int(10, 260)) {
    postgres.pass(BigInt(random.int(1_000, random.chance(0.05) ? 5_000_000 : 200_000)));
    const records: OutRecord[] = [];
    // A connector that was restarted sends again what it had not noted as sent.
    if (random.chance(0.06)) records.push(...sent.slice(-random.int(1, 25)));
    for (let n = random.int(0, 3); n > 0; n--) records.push(...transaction());
    if (random.chance(0.04)) records.push(garbage(random, partitions));
    if (random.chance(0.3)) records.push(beat(postgres.now));
    if (records.length === 0) continue;
    if (random.chance(0.08)) steps.push({ atMs, records, as: 'aborted' });
    steps.push({ atMs, records, as: random.chance(0.5) ? 'plain' : 'committed' });
    sent.push(...records.filter((record) => record.key !== null || record.topic === heartbeatTopic));
  }
  return steps;
}

/** Neither a record of the registry's wire format, nor one of a known schema, nor a whole one; or a tombstone. */
function garbage(random: Random, partitions: number): OutRecord {
  const value = random.pick([Buffer.from('garbage'), Buffer.of(0, 0, 0, 99, 9, 1), Buffer.of(0, 0, 0, 0, 1, 2), null]);
  return { topic: entriesTopic, partition: random.int(0, partitions - 1), key: null, value, timestamp: 0n };
}
