import type { Client } from 'pg';
import type { Schemas } from '../../core/avro/schemas.ts';
import { type Clock, wallClock } from '../../core/base/clock.ts';
import { isError, MillraceError } from '../../core/base/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { tradesTopic } from '../reading/topic.ts';
import { passMarker } from './marker.ts';
import { Passing, type Reader } from './passing.ts';
import { Settled } from './settled.ts';
import { Snapshot } from './snapshot.ts';

/** Readers of one topic, or of topics that are equally far down. Their goals are the ends of their topics when the step before is done. */
export interface Step {
  /** Without these the proof would compare what is not there yet. */
  readonly needed: readonly Reader[];
  /** Of these the proof compares what they have taken; so they are waited for only while they run. */
  readonly others: readonly Reader[];
}

export interface MomentOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly heartbeatTopic: string;
  readonly steps: readonly Step[];
  /** Whether somebody is in a consumer group. */
  readonly isRunning: (group: string) => Promise<boolean>;
  /** Whether an operator has paused the task of a partition: it will not pass, however long it is waited for. Default: none is paused. */
  readonly isPaused?: (name: string, partition: number) => boolean;
  /** Longest wait without any progress, milliseconds. */
  readonly waitMs: number;
  /** Told now and then what is waited for. */
  readonly onWait: (text: string) => void;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

/** A reader that has not passed the marker and was not waited for. */
export interface Behind extends Reader {
  readonly offsets: bigint;
}

/** One instant of Postgres that capture has passed. */
export interface Moment extends AsyncDisposable {
  readonly snapshot: Snapshot;
  /** Of the topic of trades, by partition: what is below is visible in the snapshot. Empty where that is not known. */
  readonly settled: readonly bigint[];
  /**
   * For each step, when its readers have passed: which of them have not, and were not waited for. A step begins when the one before is done, so that what
   * one has brought can be compared while the next is waited for. Rejects with STAGE_BEHIND; then the steps after it do, too. Nobody has to look at them.
   */
  readonly passed: readonly Promise<readonly Behind[]>[];
  /** Ends the waiting. Not the transaction, which is its connection's. */
  [Symbol.asyncDispose](): Promise<void>;
}

const pollMs = 250;

/**
 * Begins a transaction that keeps a snapshot, and waits until what is visible in it has gone through capture; and then, in `passed`, through all stages.
 *
 * @param db the connection that keeps it
 * @param other another one to the same database
 * @throws MillraceError STAGE_BEHIND
 */
export async function takeMoment(db: Client, other: Client, options: MomentOptions): Promise<Moment> {
  const { log, schemas, heartbeatTopic: topic, onWait, clock = wallClock, isPaused = () => false } = options;
  const stands = ({ reader, partitions }: Passing) => partitions.some((partition) => isPaused(reader.name, partition));
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
    const settled = await Settled.look(log, tradesTopic, other, { signal, clock });
    const snapshot = await Snapshot.take(db);
    onWait('capture has to pass the marker');
    const rows = [tradesTopic];
    await passMarker(other, { log, schemas, topic, after: snapshot.parts.after, rows, onProgress, signal });
    return { snapshot, settled: settled.below(snapshot) };
  };
  const pass = async (step: Step): Promise<readonly Behind[]> => {
    const behind: Behind[] = [];
    const ends = new Map<string, readonly bigint[]>();
    for (const reader of [...step.needed, ...step.others]) {
      if (!ends.has(reader.topic)) ends.set(reader.topic, await log.ends(reader.topic));
    }
    const passing = (reader: Reader) => new Passing(log, reader, ends.get(reader.topic) ?? []);
    let needed = step.needed.map(passing);
    let others = step.others.map(passing);
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
  const moment = await inTime(begin());
  const passed: Promise<readonly Behind[]>[] = [];
  for (const step of options.steps) {
    const before = passed.at(-1) ?? Promise.resolve();
    passed.push(inTime(before.then(() => pass(step))));
  }
  const done = Promise.allSettled(passed).then(() => clearTimeout(timer));
  return {
    ...moment,
    passed,
    [Symbol.asyncDispose]: () => {
      ended.abort();
      return done;
    },
  };
}

async function notPassed(passing: readonly Passing[], signal: AbortSignal): Promise<Passing[]> {
  const left: Passing[] = [];
  for (const each of passing) if (!(await each.look(signal))) left.push(each);
  return left;
}

function pausedStage({ reader: { name, topic }, behind }: Passing): MillraceError {
  return new MillraceError('STAGE_BEHIND', `${name} is paused, with ${behind} offsets of ${topic} to go`, {
    remedy: `\`millrace task resume ${name}\` lets it go on; \`millrace task list\` tells why it was paused`,
  });
}
