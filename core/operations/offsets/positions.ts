import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { listedUpTo } from '../../archive/listing/position.ts';
import { parseUnlisted } from '../../archive/unlisted.ts';
import type { Schemas } from '../../avro/schemas.ts';
import type { Committed, Log } from '../../log/log.ts';
import { newestRecord } from '../../log/position.ts';
import { changelogTopic, readTask, taskKey } from '../../state/changelog/changelog.ts';

/** By topic; 'unwritten': there is state, of a release that wrote no position into it. */
export type TaskPositions = ReadonlyMap<string, bigint> | 'unwritten';

/** The positions that a processor or sink keeps itself, beside the offsets of its group. */
export interface OwnPositions {
  readonly name: string;
  /** Topics that a task reads together, the primary first. */
  readonly inputs: readonly (readonly [string, ...string[]])[];
  /** The positions of a task; undefined for a task without state. Reads the end of its own topic, not the topic. */
  read(log: Log, primary: string, partition: number, signal?: AbortSignal): Promise<TaskPositions | undefined>;
  /** The offset that has to be equal to the position. */
  compared(committed: Committed): bigint;
  /** Whether a task may pass over records that are gone from the log. False: its state would lack them without a trace. */
  readonly skips: boolean;
}

/** Positions of a processor: the newest task record of its changelog. */
export function positionsOfProcessor(name: string, inputs: readonly [string, ...string[]]): OwnPositions {
  return {
    name,
    inputs: [inputs],
    skips: false,
    async read(log, primary, partition, signal) {
      const at = { topic: changelogTopic(name), partition };
      const newest = await newestRecord(log, at, ({ key }) => key?.equals(taskKey) === true, signal);
      const task = readTask(newest?.value ?? null, primary);
      if (task === undefined) return undefined;
      return task.positions === undefined ? 'unwritten' : new Map(Object.entries(task.positions));
    },
    compared: ({ offset }) => offset,
  };
}

/** Positions of the archive: the end of the newest listed cut. Records committed after it are in no object. */
export function positionsOfArchive(schemas: Schemas, name: string, topics: readonly ArchivedTopic[]): OwnPositions {
  return {
    name,
    inputs: topics.map((topic): [ArchivedTopic] => [topic]),
    skips: true,
    async read(log, primary, partition, signal) {
      const listed = await listedUpTo(log, schemas, primary as ArchivedTopic, partition, signal);
      return listed === undefined ? undefined : new Map([[primary, listed]]);
    },
    compared: ({ offset, metadata }) => parseUnlisted(metadata)?.since ?? offset,
  };
}
