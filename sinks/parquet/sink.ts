/** The Parquet archive: the archived topics (schemas/topics.ts) as date-partitioned objects in S3. */

import { normalPrefix } from '../../core/archive/keys.ts';
import { tables } from '../../core/archive/rows/tables.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import { TableDecoder } from '../../core/archive/writing/decoder.ts';
import { changeLog, type Form, flattened } from '../../core/archive/writing/writer.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { wallClock } from '../../core/base/clock.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Metrics } from '../../core/observability/metrics.ts';
import type { HandlerFactory } from '../../core/runtime/handler.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { type ArchivedTopic, archivedTopics, objectsTopic, valueSubject } from '../../schemas/topics.ts';
import { Budget } from './building/budget.ts';
import { type ParquetEnvironment, ParquetHandler, type ParquetSettings } from './handler.ts';
import { Mutex } from './mutex.ts';

export interface ParquetSinkOptions {
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly settings: ParquetSettings & {
    /** Prefix of every key. Default none. */
    readonly topicsDir?: string;
    /** Topics whose rows also carry the row before the change. Default none. */
    readonly changeLogTopics?: readonly string[];
  };
  /** Epoch of the archive: the cluster id of the log. Another log never overwrites objects of this one. */
  readonly epoch: string;
  readonly metrics: Metrics;
  /** Wall clock in milliseconds. It decides when to cut and never what is in a cut. Default `wallClock`, which is monotonic. */
  readonly now?: () => number;
}

export interface ParquetSink {
  readonly name: 'parquet';
  readonly topics: readonly ArchivedTopic[];
  readonly handler: HandlerFactory;
}

const name = 'parquet';

const changeTopics: readonly string[] = archivedTopics.filter((topic) => tables[topic].before !== undefined);

function formFor(topic: string, changeLogTopics: readonly string[]): Form {
  return changeLogTopics.includes(topic) ? changeLog : flattened;
}

/** Registers the schemas of its outputs. @throws MillraceError REGISTRY_UNREACHABLE, SCHEMA_INCOMPATIBLE, CONFIG_INVALID */
export async function parquetSink(options: ParquetSinkOptions): Promise<ParquetSink> {
  const { schemas, store, settings, epoch, metrics, now = wallClock.now } = options;
  const prefix = normalPrefix(settings.topicsDir ?? '');
  const deadEncoder = await AvroEncoder.open<DeadLetter>(schemas, valueSubject(`${name}.dead`), contracts.dead_letter);
  const unknown = (settings.changeLogTopics ?? []).filter((topic) => !changeTopics.includes(topic));
  if (unknown.length > 0) {
    throw new MillraceError(
      'CONFIG_INVALID',
      `parquet.changeLogTopics: ${unknown.join(', ')} has no row before a change`,
      {
        remedy: `name topics of changes that are archived: ${changeTopics.join(', ')}`,
      },
    );
  }
  const mutex = new Mutex();
  const budget = new Budget(settings.bufferBytes);
  const shared = new Map<string, Omit<ParquetEnvironment, 'taskMetrics'>>();
  for (const topic of archivedTopics) {
    const subject = valueSubject(objectsTopic(topic));
    shared.set(topic, {
      name,
      schemas,
      table: tables[topic],
      store,
      settings,
      prefix,
      epoch,
      decoder: new TableDecoder(schemas, tables[topic]),
      form: formFor(topic, settings.changeLogTopics ?? []),
      objectEncoder: await AvroEncoder.open<ArchiveObject>(schemas, subject, contracts.archive_object),
      deadEncoder,
      metrics,
      now,
      mutex,
      budget,
    });
  }
  return {
    name,
    topics: archivedTopics,
    handler: (ownership) => {
      const { topic, partition } = ownership;
      const environment = shared.get(topic);
      if (environment === undefined) throw new TypeError(`${topic} is not archived`);
      const taskMetrics = metrics.task({ name, topic, partition });
      return new ParquetHandler(ownership, { ...environment, taskMetrics });
    },
  };
}
