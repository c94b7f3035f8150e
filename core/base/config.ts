import { z } from 'zod';
import { MillraceError } from './errors.ts';
import { maskSecrets } from './secrets.ts';

const ms = z.number().int().min(0);
const positive = z.number().int().min(1);
const url = z.url({ protocol: /^https?$/ });
const stackName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,30}$/, 'lower-case letters, digits and dashes');

/** Whether a text is a name of a local stack: nothing else may become a part of a path. */
export function isStackName(text: string): boolean {
  return stackName.safeParse(text).success;
}

/**
 * Everything that can be set, with its default. One place: nothing else in Millrace has defaults of its own or reads the environment.
 * Durations are milliseconds, sizes bytes.
 */
export const configSchema = z.strictObject({
  stack: z
    .strictObject({
      /** Name of the local stack; its data lives in `.millrace/<name>`. */
      name: stackName.default('dev'),
    })
    .prefault({}),
  kafka: z
    .strictObject({
      brokers: z
        .array(z.string().regex(/^[^\s:]+:\d+$/, 'host:port'))
        .min(1)
        .default(['127.0.0.1:9092']),
      clientId: z.string().min(1).default('millrace'),
    })
    .prefault({}),
  registry: z
    .strictObject({
      url: url.default('http://127.0.0.1:8081'),
      /** How long a partition waits for a schema id that the registry does not know, once for each id; then its records are dead letters. */
      lagMs: ms.default(60_000),
    })
    .prefault({}),
  connect: z.strictObject({ url: url.default('http://127.0.0.1:8083') }).prefault({}),
  postgres: z
    .strictObject({ url: z.string().startsWith('postgres').default('postgres://millrace@127.0.0.1:5432/millrace') })
    .prefault({}),
  s3: z
    .strictObject({
      endpoint: url.default('http://127.0.0.1:9000'),
      region: z.string().min(1).default('us-east-1'),
      bucket: z.string().min(3).max(63).default('millrace'),
      /** Bytes of a part; larger objects are stored in parts (`s3.part.size`). */
      partSize: z
        .number()
        .int()
        .min(5 * 1024 * 1024)
        .max(1024 ** 3)
        .default(8 * 1024 * 1024),
      /** A directory in which buckets are directories, instead of a service: an absolute path; empty is the service. */
      directory: z
        .string()
        .regex(/^(\/.*)?$/, 'an absolute path, or empty')
        .default(''),
      accessKeyId: z.string().default(''),
      secretAccessKey: z.string().default(''),
    })
    .prefault({}),
  capture: z
    .strictObject({
      /** First part of each capture topic's name. */
      prefix: z.string().regex(/^\w+$/).default('cdc'),
      slot: z
        .string()
        .regex(/^[a-z0-9_]+$/)
        .default('millrace'),
      user: z.string().min(1).default('millrace_capture'),
      /** The role's password for migrations; empty leaves the role's password as it is. */
      password: z.string().default(''),
      /** How Kafka Connect finds the password: a reference that its ConfigProvider resolves, never the password itself. */
      passwordReference: z.string().default('$' + '{dir:/run/secrets:capture.password}'),
      /** Columns that leave Postgres masked: schema.table.column=mask:8 (asterisks) or schema.table.column=hash. */
      masks: z.array(z.string()).default([]),
      /** What hashes of masked columns begin with; at least 8 letters and digits. */
      maskSecret: z.string().default(''),
      /** `on`: each transaction's begin and end in `<prefix>.transaction`, and in each change its place in its transaction. */
      transactions: z.enum(['off', 'on']).default('off'),
      /** Postgres and the registry as Kafka Connect reaches them; empty is as we do. */
      postgresUrl: z.string().default(''),
      registryUrl: z.string().default(''),
    })
    .prefault({}),
  runtime: z
    .strictObject({
      /** Longest wall time between a record's fold and its commit. */
      commitIntervalMs: ms.default(100),
      /** Input records after which a commit is due at once. */
      commitRecords: positive.default(5_000),
      /** Compressed bytes per partition and fetch. Larger takes more memory; beyond the default it was not faster. */
      fetchBytes: positive.default(128 * 1024),
      /** Wall time before a failed stage of a process with several is started again; doubled with each failure, up to ten times of it. */
      stageRetryMs: positive.default(60_000),
      /** Records that wait for a task before fetching for it pauses. */
      queueRecords: positive.default(5_000),
      /** Compressed bytes that wait for all tasks of a processor or sink before fetching for it pauses. Each partition has an equal share. */
      queueBytes: positive.default(64 * 1024 * 1024),
      /** Directory of state on disk: a copy of what the changelogs have, which may be lost. Processes on one machine may share it. */
      stateDir: z.string().min(1).default('.millrace/state'),
    })
    .prefault({}),
  ohlcv: z
    .strictObject({
      /** Lengths that divide a day, lengths with a step such as 5m/1m, and session. */
      intervals: z.array(z.string()).min(1).default(['1m', '5m']),
      /** How far a trade may be behind its symbol's greatest event time and still join its candle. */
      latenessMs: ms.default(5_000),
      /** How far the end of a candle may be behind the watermark and still be revised; 0 revises nothing. */
      horizonMs: ms.default(3_600_000),
      /** How far an event time may exceed the log time of its own record; beyond it is a dead letter. */
      maxFutureSkewMs: ms.default(60_000),
      /** Cadence of PARTIAL candles in log time; 0 emits none. */
      partialMs: ms.default(1_000),
      /** How long after a symbol's last trade windows without trades are FILLED; 0 fills none. */
      fillMs: ms.default(0),
      /** The calendar of a venue, for the interval `session`: XNYS, 24x7, 24x7:Europe/Berlin. */
      calendars: z.record(z.string(), z.string()).default({}),
    })
    .prefault({}),
  anomaly: z
    .strictObject({
      /** The volume has to exceed this many times the mean of the baseline. */
      volumeMultiple: z.string().default('3'),
      /** The price has to move by more than this fraction of the open. */
      priceChange: z.string().default('0.05'),
      /** Earlier candles in the baseline. */
      lookback: positive.default(20),
      direction: z.enum(['any', 'up', 'down']).default('any'),
      /** Newest candles of a symbol and interval that a revision can still have judged again. */
      revisable: z.number().int().min(0).max(100_000).default(60),
    })
    .prefault({}),
  features: z
    .strictObject({
      /** Name of the definition below, part of each row's key. */
      set: z.string().default('default'),
      /** Cadence of the rows in event time. */
      step: z.string().default('1m'),
      /** Rolling windows: multiples of the step. */
      windows: z.array(z.string()).min(1).default(['1m', '5m', '1h']),
      /** Significant digits of a price bucket in the volume profile. */
      profileDigits: positive.default(3),
      /** How far event time has to be past a row's instant before the row is made. */
      latenessMs: ms.default(5_000),
      /** How far an event time may exceed the log time of its own record; beyond it is a dead letter. */
      maxFutureSkewMs: ms.default(60_000),
      /** How long after the first trade of a step its trades can be corrected, in log time. */
      horizonMs: ms.default(86_400_000),
    })
    .prefault({}),
  parquet: z
    .strictObject({
      /** Records per partition after which a cut is due (`flush.size`). */
      flushSize: positive.default(50_000),
      /** Buffered bytes per partition after which a cut is due. */
      flushBytes: positive.default(16 * 1024 * 1024),
      /** Bytes that all partitions together may buffer before the larger ones cut early. */
      bufferBytes: positive.default(32 * 1024 * 1024),
      /** Wall time since the first buffered record after which a cut is due, also when nothing more comes. */
      flushMs: positive.default(10_000),
      /** Time between the first buffered record and one that is cut off from it, by their timestamps (`rotate.interval.ms`); 0 is never. */
      rotateIntervalMs: ms.default(0),
      /** Key prefix in the bucket (`topics.dir`). */
      topicsDir: z.string().default(''),
      /** File with the configuration of Kafka Connect's S3 sink, whose settings are taken over; empty is none. */
      connector: z.string().default(''),
      /** Topics of changes whose rows carry the row before the change, too (`before_…`): without it no update is replayed from the archive. */
      changeLogTopics: z.array(z.string()).default(['cdc.public.trades', 'cdc.public.instruments']),
    })
    .prefault({}),
  manifest: z
    .strictObject({
      /** Wall time between two manifests of a day; longer for days with more than 1,000 files. */
      intervalMs: positive.default(10_000),
      /** How far log time has to be past the end of a day before the day is complete. */
      latenessMs: ms.default(3_600_000),
    })
    .prefault({}),
  compact: z
    .strictObject({
      /** About how many bytes the files of a compaction have. A file is whole in memory while it is written. */
      targetBytes: positive.max(256 * 1024 * 1024).default(32 * 1024 * 1024),
      /** How long readers may go on reading files that were listed when they began. */
      readerGraceMs: ms.default(3_600_000),
      /** Days of event time that `archive expire` keeps, today included; 0 gives nothing up. */
      retentionDays: z.number().int().min(0).max(36_500).default(0),
    })
    .prefault({}),
  hotStore: z
    .strictObject({
      /** The database of the hot store; empty is that of postgres.url. */
      url: z
        .string()
        .refine((text) => text === '' || text.startsWith('postgres'), 'postgres://…, or empty')
        .default(''),
      /** Rows per partition after which they are written. */
      batchRows: positive.max(10_000).default(1_000),
      /** Wall time since the first row that waits after which it is written. */
      flushMs: ms.default(200),
      /** Days of event time that are kept, today included; 0 keeps all. */
      retentionDays: z.number().int().min(0).max(36_500).default(0),
    })
    .prefault({}),
  http: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      /** 0 lets the system choose. */
      port: z.number().int().min(0).max(65_535).default(9464),
    })
    .prefault({}),
  log: z
    .strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info') })
    .prefault({}),
});

export type Config = z.output<typeof configSchema>;
export type ConfigInput = z.input<typeof configSchema>;

/** Fills in defaults, validates, freezes. @throws MillraceError CONFIG_INVALID naming each wrong setting. */
export function parseConfig(input: unknown = {}): Config {
  const parsed = configSchema.safeParse(input);
  if (parsed.success) return freeze(parsed.data);
  const wrong = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(root)'}: ${issue.message}`);
  throw new MillraceError('CONFIG_INVALID', `invalid configuration: ${wrong.join('; ')}`, {
    remedy: 'correct the named settings; millrace config shows what is in force and where it comes from',
  });
}

/** For printing: the same shape, secrets masked. */
export function maskConfig(config: Config): unknown {
  return maskSecrets(config);
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const each of Object.values(value)) freeze(each);
    Object.freeze(value);
  }
  return value;
}
