import { archivedTopics } from '../../../schemas/topics.ts';

/** The meaning of a setting in Millrace. */
export type SettingEffect =
  | { readonly sets?: Readonly<Record<string, unknown>>; readonly note: string }
  /** The problem and its remedy. */
  | { readonly refused: string };

export type Rule = (value: string) => SettingEffect;

const day = '86400000';

/** Accepts only the fixed behaviour of the archive. A class may be given by its last name. */
function only(accepted: readonly string[], note: string): Rule {
  return (value) => {
    const found = accepted.some((each) => each === value || each.slice(each.lastIndexOf('.') + 1) === value);
    return found
      ? { note }
      : { refused: `${value} differs from the archive: ${note}; give ${accepted[0]}, or remove it` };
  };
}

function sets(path: string, note = ''): Rule {
  return (value) => ({ sets: { [path]: value }, note });
}

function setsNumber(path: string, note = ''): Rule {
  return (value) => number(value, (count) => ({ sets: { [path]: count }, note }));
}

function number(value: string, then: (count: number) => SettingEffect): SettingEffect {
  return /^-?\d{1,15}$/.test(value) ? then(Number(value)) : { refused: `${value} is no whole number` };
}

/** An interval that -1 disables. */
function interval(path: string, note: string, off: SettingEffect): Rule {
  return (value) => number(value, (count) => (count === -1 ? off : { sets: { [path]: count }, note }));
}

function says(note: string): Rule {
  return () => ({ note });
}

function refuses(reason: string): Rule {
  return () => ({ refused: reason });
}

/** All supported settings. */
export const rules: Readonly<Record<string, Rule>> = {
  name: says('the consumer group is millrace.parquet'),
  'connector.class': only(['io.confluent.connect.s3.S3SinkConnector'], 'the sink parquet takes its place'),
  'tasks.max': (value) =>
    number(value, () => ({ note: 'the processes that run share the partitions: start as many as there is work for' })),
  topics,
  'topics.dir': sets('parquet.topicsDir', "in front of the archive's epoch and the topic"),
  'flush.size': setsNumber('parquet.flushSize', 'records of a partition'),
  'rotate.interval.ms': interval('parquet.rotateIntervalMs', "by the records' timestamps", {
    sets: { 'parquet.rotateIntervalMs': 0 },
    note: 'no cut by timestamps',
  }),
  'rotate.schedule.interval.ms': interval(
    'parquet.flushMs',
    'after the first record that waits; not aligned to the hour',
    {
      note: 'a cut by the clock there always is: parquet.flushMs',
    },
  ),
  'storage.class': only(['io.confluent.connect.s3.storage.S3Storage'], 'objects are in S3'),
  's3.bucket.name': sets('s3.bucket'),
  's3.region': sets('s3.region'),
  'store.url': sets('s3.endpoint'),
  's3.part.size': setsNumber('s3.partSize', 'objects above it are uploaded in parts'),
  's3.path.style.access.enabled': only(['true'], 'buckets are in the path'),
  's3.compression.type': only(['none'], 'files are compressed inside, with zstd'),
  'aws.access.key.id': sets('s3.accessKeyId'),
  'aws.secret.access.key': sets('s3.secretAccessKey'),
  's3.credentials.provider.class': refuses(
    'the key comes from s3.accessKeyId and s3.secretAccessKey; remove it and set MILLRACE_S3_ACCESS_KEY_ID and MILLRACE_S3_SECRET_ACCESS_KEY',
  ),
  's3.ssea.name': refuses('encryption is a default of the bucket; set it there and remove this'),
  's3.sse.kms.key.id': refuses('encryption is a default of the bucket; set it there and remove this'),
  's3.acl.canned': refuses('access is a policy of the bucket; set it there and remove this'),
  's3.part.retries': refuses('each call is tried five times, with growing pauses, and then the cut again; remove it'),
  's3.retry.backoff.ms': refuses(
    'each call is tried five times, with growing pauses, and then the cut again; remove it',
  ),
  'retry.backoff.ms': refuses('each call is tried five times, with growing pauses, and then the cut again; remove it'),
  'format.class': only(['io.confluent.connect.s3.format.parquet.ParquetFormat', 'Parquet'], 'files are Parquet'),
  'parquet.codec': only(['zstd'], 'files are compressed with zstd, which every reader of Parquet knows'),
  'partitioner.class': only(
    [
      'io.confluent.connect.storage.partitioner.TimeBasedPartitioner',
      'io.confluent.connect.storage.partitioner.DailyPartitioner',
    ],
    'folders are days',
  ),
  'partition.duration.ms': only([day], 'folders are days'),
  'path.format': only(
    ["'year'=YYYY/'month'=MM/'day'=dd", "'year'=yyyy/'month'=MM/'day'=dd"],
    'folders are year=YYYY/month=MM/day=dd',
  ),
  timezone: only(['UTC', 'Etc/UTC', 'GMT'], 'days are UTC'),
  locale: (value) =>
    /^en([-_]\w+)?$/.test(value)
      ? { note: 'folders have digits only' }
      : { refused: `folders have digits only; give en-US, or remove it` },
  'timestamp.extractor': (value) =>
    /(^|\.)Record(Field)?$/.test(value)
      ? { note: 'the day is that of the event: executed_at of a trade, window_start of a candle or an anomaly' }
      : {
          refused: `${value}: the day of a row is in the row, so that it is the same in every rebuild; give RecordField`,
        },
  'timestamp.field': only(
    ['executed_at', 'after.executed_at', 'window_start'],
    'the day is that of executed_at, and of candles and anomalies of window_start',
  ),
  'schema.compatibility': only(['BACKWARD', 'FULL'], 'rows of several schemas in one file are brought to its columns'),
  'directory.delim': only(['/'], 'folders are separated by /'),
  'file.delim': only(['+'], 'files are <topic>+<partition>+<first offset>.parquet'),
  'filename.offset.zero.pad.width': only(['20'], 'offsets in names have 20 digits'),
  'behavior.on.null.values': refuses(
    'a record without a value is a dead letter in parquet.dead: it is neither passed over nor does it stop the sink; remove it',
  ),
  'errors.tolerance': only(['all'], 'a record that cannot be read is a dead letter'),
  'errors.deadletterqueue.topic.name': only(['parquet.dead'], 'dead letters are in parquet.dead'),
  'key.converter': says('keys are not archived: they are in the values'),
  'key.converter.schema.registry.url': says('keys are not archived: they are in the values'),
  'key.converter.schemas.enable': says('keys are not archived: they are in the values'),
  'value.converter': only(
    ['io.confluent.connect.avro.AvroConverter', 'io.apicurio.registry.utils.converter.AvroConverter'],
    'values are Avro with a schema in the registry',
  ),
  'value.converter.schema.registry.url': sets('registry.url'),
  'value.converter.schemas.enable': says('values are Avro, and always have a schema'),
  'topics.regex': refuses('the archived topics are those of schemas/topics.ts; name them in topics'),
  transforms: refuses(
    'rows are flattened without it: parquet.changeLogTopics says where the row before a change is kept; remove it',
  ),
};

const secrets: ReadonlySet<string> = new Set(['aws.secret.access.key', 'aws.access.key.id']);

export function isSecretSetting(setting: string): boolean {
  return secrets.has(setting);
}

export function ruleOf(setting: string): Rule {
  const rule = Object.hasOwn(rules, setting) ? rules[setting] : undefined;
  if (rule !== undefined) return rule;
  if (/^(consumer|producer|admin)\.override\./.test(setting)) {
    return refuses("Kafka's client is set up by kafka.* and runtime.*; remove it");
  }
  if (setting.startsWith('transforms.')) return rules['transforms'] as Rule;
  return refuses('is not known here; remove it if the archive does not depend on it');
}

function topics(value: string): SettingEffect {
  const named = value.split(',').map((each) => each.trim());
  const unknown = named.filter((each) => !archivedTopics.some((topic) => topic === each));
  const archived = archivedTopics.join(', ');
  if (unknown.length > 0) {
    return { refused: `${unknown.join(', ')} is not archived; name the topics that take its place among ${archived}` };
  }
  const others = archivedTopics.filter((topic) => !named.includes(topic));
  return { note: others.length === 0 ? 'all archived topics' : `archived, and so are ${others.join(', ')}` };
}
