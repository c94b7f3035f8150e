import type { OutRecord } from '../../core/log/log.ts';
import type { Random } from './engine/random.ts';
import type { SourceStep } from './engine/scenario.ts';
import type { Postgres } from './postgres.ts';

export const heartbeatTopic = 'cdc.public.heartbeat';
/** Where log time begins, microseconds. */
export const epoch = 1_700_000_000_000_000n;
const hour = 3_600_000_000n;

export interface ScriptOptions {
  readonly random: Random;
  readonly postgres: Postgres;
  readonly stormMs: number;
  readonly topic: string;
  readonly partitions: number;
  /** Longest log time between two steps: usually, and now and then. Microseconds. */
  readonly passes: readonly [usually: number, rarely: number];
  /** The records of one committed transaction. */
  readonly transaction: () => readonly OutRecord[];
}

/** What a connector writes while things go wrong: transactions, heartbeats, a suffix once more after a restart, garbage, what is aborted. */
export function script(options: ScriptOptions): readonly SourceStep[] {
  const { random, postgres, stormMs, topic, partitions, transaction } = options;
  const [usually, rarely] = options.passes;
  const steps: SourceStep[] = [];
  const sent: OutRecord[] = [];
  for (let atMs = random.int(0, 400); atMs < stormMs; atMs += random.int(10, 260)) {
    postgres.pass(BigInt(random.int(1_000, random.chance(0.05) ? rarely : usually)));
    const records: OutRecord[] = [];
    // A connector that was restarted sends again what it had not noted as sent.
    if (random.chance(0.06)) records.push(...sent.slice(-random.int(1, 25)));
    for (let n = random.int(0, 3); n > 0; n--) records.push(...transaction());
    if (random.chance(0.04)) records.push(garbage(random, topic, partitions));
    if (random.chance(0.3)) records.push(beat(postgres.now));
    if (records.length === 0) continue;
    if (random.chance(0.08)) steps.push({ atMs, records, as: 'aborted' });
    steps.push({ atMs, records, as: random.chance(0.5) ? 'plain' : 'committed' });
    sent.push(...records.filter((record) => record.key !== null || record.topic === heartbeatTopic));
  }
  return steps;
}

/** A heartbeat row; its value is the log time as text. */
export function beat(logTime: bigint): OutRecord {
  const value = Buffer.from(`${logTime}`);
  return { topic: heartbeatTopic, partition: 0, key: null, value, timestamp: logTime / 1_000n };
}

export function readBeat(value: Buffer): bigint {
  return BigInt(value.toString());
}

/** Heartbeats past everything that a script leaves due. */
export function lastBeat(nth: number): OutRecord {
  return beat(epoch + 100n * hour + BigInt(nth) * hour);
}

/** Neither a record of the registry's wire format, nor one of a known schema, nor a whole one; or a tombstone. */
function garbage(random: Random, topic: string, partitions: number): OutRecord {
  const value = random.pick([Buffer.from('garbage'), Buffer.of(0, 0, 0, 99, 9, 1), Buffer.of(0, 0, 0, 0, 1, 2), null]);
  return { topic, partition: random.int(0, partitions - 1), key: null, value, timestamp: 0n };
}
