import type { MemorySchemas } from '../../../core/avro/registry/memory.ts';
import type { LogRecord, OutRecord, TopicPartition } from '../../../core/log/log.ts';
import type { Processor } from '../../../core/processor/define.ts';
import type { FoldSettings } from '../../../core/runtime/fold/fold-handler.ts';

/**
 * What is simulated: processors, the source that feeds them, and the check of what came out. Made anew for each seed; what the source
 * commits is decided by the seed alone, so it is the same whatever goes wrong.
 */
export interface Scenario {
  /** Each process runs all of them, in this order of start. */
  readonly processors: readonly SimulatedProcessor[];
  /** Of the inputs and of all that follows them. */
  readonly partitions: number;
  /** In order. The next step begins when this one is visible. */
  readonly source: readonly SourceStep[];
  /** A heartbeat past everything that is due, the nth of them: repeated at the end until all is quiet. */
  readonly lastBeat: (nth: number) => OutRecord;
  readonly heartbeatTopic: string;
  /** Log time of a heartbeat, microseconds. */
  readonly readBeat: (value: Buffer) => bigint;
  /** Holds the schemas of the source's records; processes get them through a registry that can be away. */
  readonly schemas: MemorySchemas;
  /** Sentences about what is wrong, from what a read-committed reader sees at some instant of the run. */
  readonly glance: (view: View) => readonly string[];
  /** Likewise, when everything is done. */
  readonly verdict: (view: View) => readonly string[];
  /** By name, what has to be the same whatever went wrong: compared with a run in which nothing does. */
  readonly lasting?: (view: View) => ReadonlyMap<string, readonly string[]>;
}

export interface SimulatedProcessor {
  // biome-ignore lint/suspicious/noExplicitAny: the simulation runs any processor and looks at no value.
  readonly processor: Processor<any>;
  readonly settings: FoldSettings;
  readonly queueRecords: number;
  /** Whether it follows the heartbeats. */
  readonly heartbeats: boolean;
}

export interface SourceStep {
  /** Virtual milliseconds before which it does not happen. */
  readonly atMs: number;
  readonly records: readonly OutRecord[];
  /** Exactly-once sources write transactions; of one that was aborted only the offsets remain. */
  readonly as: 'plain' | 'committed' | 'aborted';
}

/** What a read-committed reader sees. */
export interface View {
  records(topic: string, partition: number): readonly LogRecord[];
  /** The group's committed offset; undefined before the first. */
  committed(group: string, at: TopicPartition): bigint | undefined;
  /** Whether a transaction of that task is decided and its outcome not yet visible everywhere: it may be seen by halves, as in Kafka. */
  completing(group: string, at: TopicPartition): boolean;
}
