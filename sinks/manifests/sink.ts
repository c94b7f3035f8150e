/** Manifests and complete days: the lists of the objects topics, as files in the bucket and as records in archive.partitions. */

import { normalPrefix } from '../../core/archive/keys.ts';
import { daysTopic } from '../../core/archive/listing/days.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { wallClock } from '../../core/base/clock.ts';
import type { Metrics } from '../../core/observability/metrics.ts';
import type { HandlerFactory } from '../../core/runtime/handler.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { valueSubject } from '../../schemas/topics.ts';
import { ManifestHandler, type ManifestSettings } from './handler.ts';

export interface ManifestSinkOptions {
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly settings: ManifestSettings;
  /** Prefix of the Parquet sink. */
  readonly prefix: string;
  /** Epoch of the archive: the cluster id of the log. */
  readonly epoch: string;
  readonly metrics: Metrics;
  /** Wall clock in milliseconds. Default `wallClock`. */
  readonly now?: () => number;
}

export interface ManifestSink {
  readonly name: 'manifests';
  /** Its single partition makes one task of all manifests. */
  readonly topic: typeof daysTopic;
  readonly handler: HandlerFactory;
}

const name = 'manifests';

/** Registers the schema of its output. @throws MillraceError REGISTRY_UNREACHABLE, SCHEMA_INCOMPATIBLE, CONFIG_INVALID */
export async function manifestSink(options: ManifestSinkOptions): Promise<ManifestSink> {
  const { schemas, metrics, now = wallClock.now } = options;
  const prefix = normalPrefix(options.prefix);
  const encoder = await AvroEncoder.open<ArchivePartition>(
    schemas,
    valueSubject(daysTopic),
    contracts.archive_partition,
  );
  return {
    name,
    topic: daysTopic,
    handler: (ownership) => {
      const { topic, partition } = ownership;
      const taskMetrics = metrics.task({ name, topic, partition });
      return new ManifestHandler(ownership, { ...options, prefix, encoder, taskMetrics, now });
    },
  };
}
