import type { Fetched, Log, Writer } from '../log/log.ts';

/** Where a task stands in one of its inputs. */
export interface InputPosition {
  readonly topic: string;
  /** The group's committed position, read after fencing; undefined if the group never committed here. */
  readonly committed: { readonly offset: bigint; readonly metadata: string } | undefined;
  /** Earliest offset of the partition: where to begin without a committed position. */
  readonly start: bigint;
}

/** What a task is given when it takes a partition over. The previous owner is already fenced. Its own position is that in the primary input. */
export interface Ownership extends InputPosition {
  readonly partition: number;
  /** The primary first. */
  readonly inputs: readonly InputPosition[];
  readonly log: Log;
  readonly writer: Writer;
  readonly group: string;
  /** Aborted when the task is closed or fenced: let go of everything that waits. */
  readonly signal: AbortSignal;
  /** Aborted then, and when the task ends in order: who waits for something outside gives up, and what is not committed is read again. */
  readonly ending: AbortSignal;
}

/** A heartbeat row as read from the log. */
export interface Beat {
  /** Commit time of the heartbeat row, microseconds. */
  readonly logTime: bigint;
  /** Its offset in the heartbeat topic. */
  readonly offset: bigint;
}

/**
 * What a task does with its partition: a fold (processor) or a cut-and-upload (sink). One instance per ownership: it is thrown away
 * with all its memory after any failed or unknown commit, and a new one starts from what is committed.
 *
 * Calls never overlap. Not its job: fetching, fencing, retrying, rebalancing.
 */
export interface Handler {
  /** Restores, and returns the offsets to read from, in the order of the inputs. */
  open(): Promise<readonly bigint[]>;
  /** Takes the next records of an input. While it is pending, the task's bounded queue fills and fetching pauses. */
  process(fetched: Fetched): Promise<void>;
  /** Called about every 20 ms of wall time, also when nothing arrives: due commits, rotation by time. */
  tick(nowMs: number): Promise<void>;
  /** A heartbeat whose partition end has been reached: log time may advance to it. */
  beat?(beat: Beat): Promise<void>;
  /** Tables have grown: their ends, by topic and partition. */
  tables?(ends: ReadonlyMap<string, readonly bigint[]>): Promise<void>;
  /** Orderly end: commit what is done. Not called after a failure. */
  close(): Promise<void>;
  /** The end of the ownership, however it came about: lets go of what is open, without a commit. */
  [Symbol.asyncDispose]?(): Promise<void>;
}

export type HandlerFactory = (ownership: Ownership) => Handler;
