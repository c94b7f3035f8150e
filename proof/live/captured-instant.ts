import type { Client } from 'pg';
import type { Schemas } from '../../core/avro/schemas.ts';
import { type Clock, wallClock } from '../../core/base/clock.ts';
import { isError, MillraceError } from '../../core/base/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { tradesTopic } from '../reading/topic.ts';
import { passMarker } from './marker.ts';
import { ReaderProgress, type TopicReader } from './reader-progress.ts';
import { SettledOffsets } from './settled.ts';
import { Snapshot } from './snapshot.ts';

/**
 * Readers of one topic, or of topics at the same depth of the pipeline. Their goals are the ends of their topics at the time when the
 * previous stage is done.
 */
export interface ReaderStage {
  /** Readers that the proof needs: it would otherwise compare outputs that do not exist yet. */
  readonly needed: readonly TopicReader[];
  /** Readers that the proof compares only as far as they are, so it waits for them only while they run. */
  readonly others: readonly TopicReader[];
}

export interface CapturedInstantOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly heartbeatTopic: string;
  readonly stages: readonly ReaderStage[];
  /** Whether a consumer group has members. */
  readonly isRunning: (group: string) => Promise<boolean>;
  /** Whether an operator has paused the task of a partition. A paused task is not waited for. Default: none is paused. */
  readonly isPaused?: (name: string, partition: number) => boolean;
  /** Longest wait without any progress, milliseconds. */
  readonly waitMs: number;
  /** Called from time to time with the reason of the wait. */
  readonly onWait: (text: string) => void;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

/** A reader that has not passed the marker and is not waited for. */
export interface LaggingReader extends TopicReader {
  readonly offsets: bigint;
}

/** One instant of Postgres that the capture has passed. */
export interface CapturedInstant extends AsyncDisposable {
  readonly snapshot: Snapshot;
  /** By partition of the trades topic, the offset below which the snapshot sees every change. Empty if unknown. */
  readonly settled: readonly bigint[];
  /**
   * One promise per stage, resolved when its readers have passed, with the readers that were not waited for. A stage begins when the
   * previous one is done, so its outputs can be compared while the next is waited for. Rejects with STAGE_BEHIND, and so do the stages
   * after it. The caller may ignore them.
   */
  readonly passed: readonly Promise<readonly LaggingReader[]>[];
  /** Stops the waiting. The transaction stays open; it belongs to its connection. */
  [Symbol.asyncDispose](): Promise<void>;
}

const pollMs = 250;

/**
 * Begins a transaction that keeps a snapshot. Waits until its changes have passed the capture and then, in `passed`, all stages.
 *
 * @param db the connection that keeps the snapshot
 * @param other another connection to the same database
 * @throws MillraceError STAGE_BEHIND
 */
export async function takeCapturedInstant(
  db: Client,
  other: Client,
  options: CapturedInstantOptions,
): Promise<CapturedInstant> {
  const { log, schemas, heartbeatTopic: topic, onWait, clock = wallClock, isPaused = () => false } = options;
  const stands = ({ reader, partitions }: ReaderProgress) =>
    partitions.some((partition) => isPaused(reader.name, partition));
  const [late, ended] = [new AbortController(), new AbortController()];
  const timer = setTimeout(() => late.abort(), options.waitMs);
  const onProgress = () => {
    timer.refresh();
  };
  const given = options.signal === undefined ? [] : [options.signal];
  const signal = AbortSignal.any([late.signal, ended.signal, ...given]);
  const waiting = {
    on: 'capture',
    remedy: 'look at `millrace connectors status`; without a running connector nothing is captured',
  };
  const inTime = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      clearTimeout(timer);
      if (!late.signal.aborted || options.signal?.aborted === true || isError(error, 'STAGE_BEHIND')) throw error;
      const message = `${waiting.on} has not passed the marker, and nothing moved for ${options.waitMs / 1000} s`;
      throw new MillraceError('STAGE_BEHIND', message, { remedy: waiting.remedy, cause: error });
    }
  };
  const begin = async () => {
    const settled = await SettledOffsets.look(log, tradesTopic, other, { signal, clock });
    const snapshot = await Snapshot.take(db);
    onWait('capture has to pass the marker');
    const rows = [tradesTopic];
    await passMarker(other, { log, schemas, topic, after: snapshot.parts.after, rows, onProgress, signal });
    return { snapshot, settled: settled.below(snapshot) };
  };
  const pass = async (stage: ReaderStage): Promise<readonly LaggingReader[]> => {
    const behind: LaggingReader[] = [];
    const ends = new Map<string, readonly bigint[]>();
    for (const reader of [...stage.needed, ...stage.others]) {
      if (!ends.has(reader.topic)) ends.set(reader.topic, await log.ends(reader.topic));
    }
    const progress = (reader: TopicReader) => new ReaderProgress(log, reader, ends.get(reader.topic) ?? []);
    let needed = stage.needed.map(progress);
    let others = stage.others.map(progress);
    for (let before: bigint | undefined; ; ) {
      needed = await notPassed(needed, signal);
      others = await notPassed(others, signal);
      for (const each of others) {
        const { reader, started } = each;
        const runs = !stands(each) && (await options.isRunning(groupOf(reader.name)));
        if (started && runs) continue;
        others = others.filter((other) => other !== each);
        if (started) behind.push({ ...reader, offsets: each.behind });
      }
      const [slowest] = [...needed, ...others];
      if (slowest === undefined) return behind;
      const toGo = [...needed, ...others].reduce((sum, each) => sum + each.behind, 0n);
      if (before !== undefined && toGo < before) onProgress();
      before = toGo;
      const { reader, behind: left } = slowest;
      if (stands(slowest)) throw pausedStage(slowest);
      waiting.on = `${reader.name} (${left} offsets of ${reader.topic} to go)`;
      waiting.remedy = `look at \`millrace status\`; \`millrace run ${reader.name}\` starts it; --wait gives it longer`;
      onWait(`${waiting.on} has to pass the marker`);
      await clock.sleep(pollMs, signal);
      signal.throwIfAborted();
    }
  };
  const instant = await inTime(begin());
  const passed: Promise<readonly LaggingReader[]>[] = [];
  for (const stage of options.stages) {
    const before = passed.at(-1) ?? Promise.resolve();
    passed.push(inTime(before.then(() => pass(stage))));
  }
  const done = Promise.allSettled(passed).then(() => clearTimeout(timer));
  return {
    ...instant,
    passed,
    [Symbol.asyncDispose]: () => {
      ended.abort();
      return done;
    },
  };
}

async function notPassed(progress: readonly ReaderProgress[], signal: AbortSignal): Promise<ReaderProgress[]> {
  const left: ReaderProgress[] = [];
  for (const each of progress) if (!(await each.look(signal))) left.push(each);
  return left;
}

function pausedStage({ reader: { name, topic }, behind }: ReaderProgress): MillraceError {
  return new MillraceError('STAGE_BEHIND', `${name} is paused, with ${behind} offsets of ${topic} to go`, {
    remedy: `\`millrace task resume ${name}\` lets it go on; \`millrace task list\` tells why it was paused`,
  });
}
