import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { MemorySchemas } from '../../../core/avro/registry/memory.ts';
import type { OutRecord } from '../../../core/log/log.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { Random } from '../engine/random.ts';
import type { Scenario, SourceStep } from '../engine/scenario.ts';
import { Postgres } from '../postgres.ts';
import { epoch, heartbeatTopic, lastBeat, readBeat, script } from '../script.ts';
import { LedgerChecker } from './checker.ts';
import { badAmount, type EntryChange, ledger, ledgerSchemas } from './ledger.ts';

export const entriesTopic = 'cdc.public.entries';
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
    lastBeat,
    readBeat,
    schemas,
    glance: (view) => checker.glance(view),
    verdict: (view) => checker.verdict(view),
  };
}

function entries(
  random: Random,
  stormMs: number,
  partitions: number,
  encode: (change: EntryChange) => Buffer,
): readonly SourceStep[] {
  const postgres = new Postgres(random, epoch);
  const written: { readonly account: number; readonly change: EntryChange }[] = [];
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
  const passes = [200_000, 5_000_000] as const;
  return script({ random, postgres, stormMs, topic: entriesTopic, partitions, passes, transaction });
}
