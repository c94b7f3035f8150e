/** Measures how a process drains a backlog, from outside and equally for every language. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { KafkaLog } from '../../core/kafka/log.ts';

const pollMs = 100;
/** Without progress for this long, a contestant counts as broken. On a busy machine a start alone takes a minute. */
const stalledMs = 300_000;
/** Clock ticks per second in /proc, always 100 on Linux. */
const ticksPerSecond = 100;

/** Records to process, as one offset per partition, just after its last record. */
export interface Backlog {
  readonly topic: string;
  readonly records: number;
  readonly targets: readonly bigint[];
}

export interface Measured {
  readonly recordsPerSecond: number;
  /** User and system time of all threads, seconds per million records. */
  readonly cpuSecondsPerMillion: number;
  /** Peak resident size of the largest process since its start, MiB. */
  readonly peakMib: number;
  /** Seconds from the start of the process to the first commit with progress: the cost of start and takeover. */
  readonly startSeconds: number;
}

/** Ends and last records of the topic as it is now. @throws Error if a partition is empty */
export async function backlogOf(log: KafkaLog, topic: string): Promise<Backlog> {
  const [starts, ends] = [await log.starts(topic), await log.ends(topic)];
  await using fetcher = log.fetcher();
  let records = 0;
  const targets: bigint[] = [];
  for (const [partition, end] of ends.entries()) {
    let target: bigint | undefined;
    for (let offset = starts[partition] ?? 0n; offset < end; ) {
      const [fetched] = await fetcher.fetch([{ topic, partition, offset }], {
        maxWaitMs: 100,
        maxBytesPerPartition: 1_048_576,
      });
      if (fetched === undefined) continue;
      offset = fetched.next;
      records += fetched.records.length;
      const last = fetched.records.at(-1);
      if (last !== undefined) target = last.offset + 1n;
    }
    if (target === undefined) throw new Error(`${topic}/${partition} is empty: the load has to reach every partition`);
    targets.push(target);
  }
  return { topic, records, targets };
}

/**
 * Waits until the group has committed the whole backlog. The rate is measured between the first and the last observed commit. So the start
 * of a process and its last linger do not count. CPU time covers the same span.
 *
 * @throws Error if the process ends first, or makes no progress for minutes
 */
export async function watch(
  log: KafkaLog,
  group: string,
  backlog: Backlog,
  pids: readonly number[],
): Promise<Measured> {
  const startedMs = performance.now();
  let first: { readonly ms: number; readonly done: number; readonly cpu: number } | undefined;
  let movedMs = startedMs;
  let before = 0;
  const share = backlog.records / Number(backlog.targets.reduce((sum, target) => sum + target, 0n));
  for (;;) {
    const committed = await log.committed(group, backlog.topic);
    const now = performance.now();
    const done = committed.reduce((sum, { offset }) => sum + Number(offset), 0);
    if (done > before) movedMs = now;
    before = done;
    if (done > 0) first ??= { ms: now, done, cpu: cpuSeconds(pids) };
    const reached = backlog.targets.every((target, partition) =>
      committed.some((each) => each.partition === partition && each.offset >= target),
    );
    if (reached && first !== undefined) {
      const records = (done - first.done) * share;
      return {
        recordsPerSecond: records / ((now - first.ms) / 1000),
        cpuSecondsPerMillion: ((cpuSeconds(pids) - first.cpu) / records) * 1e6,
        peakMib: Math.max(...pids.map(peakMib)),
        startSeconds: (first.ms - startedMs) / 1000,
      };
    }
    if (now - movedMs > stalledMs) throw new Error(`${group} has stopped moving at ${done} offsets`);
    await delay(pollMs);
  }
}

/** The first part of a backlog, with the same share of each partition. */
export function firstOf(backlog: Backlog, records: number): Backlog {
  const share = Math.min(1, records / backlog.records);
  const targets = backlog.targets.map((target) => BigInt(Math.floor(Number(target) * share)));
  return { ...backlog, records: Math.round(backlog.records * share), targets };
}

/** CPU time of processes and all their threads so far, seconds. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuOf(pid), 0);
}

function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Peak resident size of a process, MiB. */
export function peakMib(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
