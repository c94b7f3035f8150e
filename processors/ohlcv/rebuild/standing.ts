import { readRange } from '../../../core/log/log.ts';
import { watermarkAt } from '../../../core/processor/watermark.ts';
import { type KeyProgress, keyStore } from '../../../core/processor/windows/aggregation.ts';
import { changelogTopic, readTask, taskKey } from '../../../core/state/changelog/changelog.ts';
import { parseKey } from '../../../core/state/stores/keyed.ts';
import { ValueCodec } from '../../../core/state/stores/value.ts';
import { trades } from '../../trade-change.ts';
import type { Sources } from './reading.ts';

/** Committed state of one task of `ohlcv`. */
export interface CommittedState {
  /** By the state's key of a symbol: windows that end at or before this event time stay frozen. Microseconds. */
  readonly frozen: ReadonlyMap<string, number>;
  /** Orders before this offset have been taken. */
  readonly ordersTaken: bigint;
}

/**
 * Reads the whole changelog of one partition. Its frozen windows stay frozen, since that time never goes back.
 *
 * @throws MillraceError TOPIC_MISSING, STATE_CORRUPT, STATE_VERSION
 */
export async function readStanding(
  { log, signal }: Sources,
  partition: number,
  orders: string,
): Promise<CommittedState> {
  const topic = changelogTopic('ohlcv');
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  const range = { topic, partition, from: starts[partition] ?? 0n, to: ends[partition] ?? 0n };
  const fetch = { maxWaitMs: 250, maxBytesPerPartition: 4 << 20, ...(signal === undefined ? {} : { signal }) };
  const keys = new Map<string, Buffer>();
  let task: Buffer | null = null;
  for await (const records of readRange(log, range, fetch)) {
    for (const { key, value } of records) {
      if (key?.equals(taskKey) === true) task = value;
      const entry = key === null ? undefined : parseKey(key.toString('utf8'));
      if (entry?.store !== keyStore.name) continue;
      // A copy: a slice would keep the whole fetch buffer in memory.
      if (value === null) keys.delete(entry.key);
      else keys.set(entry.key, Buffer.from(value));
    }
  }
  const state = readTask(task, trades.topic);
  const codec = new ValueCodec<KeyProgress>(keyStore);
  const frozen = new Map<string, number>();
  for (const [key, bytes] of keys) {
    const { value: progress } = codec.decode(key, bytes);
    const reached = watermarkAt(progress, Number(state?.logTime ?? 0n));
    frozen.set(key, Math.max(reached - progress.horizon, progress.frozen));
  }
  return { frozen, ordersTaken: state?.tables[orders]?.[0] ?? 0n };
}
