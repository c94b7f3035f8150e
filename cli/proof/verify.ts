/** All proofs of one stack, in order. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Parked, readRecord } from '../../connectors/source/record.ts';
import { normalPrefix } from '../../core/archive/keys.ts';
import { openStore } from '../../core/archive/s3/open.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Config } from '../../core/base/config.ts';
import { connectPostgres, type Postgres } from '../../core/base/postgres.ts';
import { GroupAdmin } from '../../core/kafka/groups.ts';
import type { KafkaLog } from '../../core/kafka/log.ts';
import { readControl } from '../../core/operations/control.ts';
import { DAY } from '../../core/values/time.ts';
import { checkArchive } from '../../proof/archive/archive.ts';
import { elsewhere, type ForeignEpoch } from '../../proof/archive/epochs.ts';
import { type CandleProof, type CandleSources, checkCandles } from '../../proof/candles/candles.ts';
import type { Excluded } from '../../proof/candles/excluded.ts';
import type { MissingTrades } from '../../proof/candles/missing.ts';
import { checkHot, type HotScope } from '../../proof/hot-store/check.ts';
import {
  type CapturedInstant,
  type LaggingReader,
  type ReaderStage,
  takeCapturedInstant,
} from '../../proof/live/captured-instant.ts';
import type { TopicReader } from '../../proof/live/reader-progress.ts';
import { Snapshot } from '../../proof/live/snapshot.ts';
import { dayRange } from '../../proof/reading/day.ts';
import type { Check } from '../../proof/report/report.ts';
import { archivedTopics, hotTopics } from '../../schemas/topics.ts';
import { definitionOf, masksOf } from '../capture/capture.ts';
import { hotStoreUrl } from '../run/services.ts';

export interface Verification {
  readonly checks: readonly Check[];
  /** Trades in no candle, according to the processor's own records. Undefined if candles were not compared. */
  readonly excluded: Excluded | undefined;
  /** Trades of Postgres in no candle of an interval, with the reason; empty if candles were not compared. */
  readonly missing: readonly MissingTrades[];
  /** The compared instant, in the format of `pg_current_snapshot()`. */
  readonly snapshot: string;
  /** Stages that do not run and are behind; only what they have taken was compared. */
  readonly behind: readonly LaggingReader[];
  /** Files of other logs in the bucket. */
  readonly elsewhere: readonly ForeignEpoch[];
  /** Parked tables by name: not captured, so not proven. */
  readonly parked: Parked;
  readonly ok: boolean;
}

/** Tables that can be compared separately. */
export const tableNames = ['trades', 'instruments', 'candles', 'anomalies', 'features'] as const;
export type TableName = (typeof tableNames)[number];

export interface VerifyOptions {
  /** Default: all. */
  readonly tables?: readonly TableName[];
  /** Only rows whose event time is on this UTC day, `YYYY-MM-DD`. Default: all. */
  readonly day?: string;
  /** Longest wait for the stages without any progress, milliseconds. Default 60,000. */
  readonly waitMs?: number;
  readonly onCheck?: (check: Check) => void;
  /** Called with the reason of a wait. */
  readonly onWait?: (text: string) => void;
  readonly signal?: AbortSignal;
}

const topics: Readonly<Record<TableName, string>> = {
  trades: 'cdc.public.trades',
  instruments: 'cdc.public.instruments',
  candles: 'market.candles',
  anomalies: 'market.anomalies',
  features: 'market.features',
};

/** Readers that a row of these tables must pass before it can be compared, upstream first. */
function stagesOf(tables: ReadonlySet<TableName>): readonly ReaderStage[] {
  const read = (name: string, table: TableName): TopicReader => ({ name, topic: topics[table] });
  const some = (wanted: boolean, ...readers: TopicReader[]): TopicReader[] => (wanted ? readers : []);
  const [candles, anomalies, features] = [tables.has('candles'), tables.has('anomalies'), tables.has('features')];
  return [
    { needed: some(candles || anomalies, read('ohlcv', 'trades')), others: [] },
    {
      needed: [
        ...some(tables.has('trades'), read('parquet', 'trades')),
        ...some(tables.has('instruments'), read('parquet', 'instruments')),
      ],
      others: [...some(anomalies, read('anomaly', 'trades')), ...some(features, read('features', 'trades'))],
    },
    {
      needed: [],
      others: [
        ...some(anomalies, read('anomaly', 'candles')),
        ...some(candles, read('parquet', 'candles'), read('hot-store', 'candles')),
      ],
    },
    {
      needed: [],
      others: [
        ...some(anomalies, read('parquet', 'anomalies'), read('hot-store', 'anomalies')),
        ...some(features, read('hot-store', 'features')),
      ],
    },
  ];
}

/**
 * Compares one instant of Postgres with all stores derived from it, while writers may go on. A change counts if its transaction is visible
 * in that instant. Later changes are no difference.
 *
 * @throws MillraceError STAGE_BEHIND, and errors of unreachable parts
 */
export async function verify(
  config: Config,
  log: KafkaLog,
  schemas: Schemas,
  options: VerifyOptions = {},
): Promise<Verification> {
  const { onCheck = () => undefined, onWait = () => undefined, waitMs = 60_000, day } = options;
  const tables = new Set(options.tables ?? tableNames);
  const chosen = (topic: string) => tableNames.some((name) => tables.has(name) && topics[name] === topic);
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  const { brokers, clientId } = config.kafka;
  await using groups = await GroupAdmin.open({ brokers, clientId });
  await using store = openStore(config.s3);
  await using db = await open(config.postgres.url, signal);
  await using other = await open(config.postgres.url, signal);
  const heartbeatTopic = `${config.capture.prefix}.public.heartbeat`;
  const isRunning = async (group: string) => (await groups.members(group)).length > 0;
  const paused = await readControl(log, schemas);
  const isPaused = (stage: string, at: number) =>
    paused.some(({ name, partition }) => name === stage && (partition === null || partition === at));
  const waiting = {
    log,
    schemas,
    heartbeatTopic,
    stages: stagesOf(tables),
    isRunning,
    isPaused,
    waitMs,
    onWait,
    ...signal,
  };
  await using instant = await takeCapturedInstant(db, other, waiting);
  const { snapshot, settled, passed } = instant;
  const [folded, archived] = passed;
  const sources = { db, log, schemas, store, snapshot, settled, masks: masksOf(config) };
  await Snapshot.share(db, other);
  // Concurrent, each with its own connection: Postgres computes for one while this process decodes for the other.
  const [candles, stored] = await Promise.allSettled([
    folded?.then(() => (tables.has('candles') ? candlesShown(sources, config, day, options) : undefined)),
    (async () => {
      const found: Check[] = [];
      await archived;
      for (const topic of archivedTopics.filter(chosen)) {
        if (topic !== topics.trades && topic !== topics.instruments) await Promise.all(passed);
        found.push(...(await checkArchive({ ...sources, db: other }, topic, day, onCheck)).checks);
      }
      await Promise.all(passed);
      await using hot = await open(hotStoreUrl(config), signal);
      for (const topic of hotTopics.filter(chosen)) {
        found.push(await checkHot({ log, schemas, hot }, topic, scopeOf(config, day)));
        onCheck(found.at(-1) as Check);
      }
      return found;
    })(),
  ]);
  if (candles.status === 'rejected') throw candles.reason;
  if (stored.status === 'rejected') throw stored.reason;
  const behind = (await Promise.all(passed)).flat();
  const checks = [...(candles.value?.checks ?? []), ...stored.value];
  const { parked = {} } = await readRecord(db, (await definitionOf(config)).name);
  const ok = checks.every(({ differences }) => differences === 0) && Object.keys(parked).length === 0;
  const others = await elsewhere(store, normalPrefix(config.parquet.topicsDir), await log.clusterId(), options.signal);
  return {
    checks,
    excluded: candles.value?.excluded,
    missing: candles.value?.missing ?? [],
    snapshot: snapshot.parts.text,
    behind,
    elsewhere: others,
    parked,
    ok,
  };
}

/** Checks until a candle is shown: its PARTIAL follows a cadence of log time, which heartbeats advance. */
const looks = 3;

type CandleLook = CandleSources & Pick<CapturedInstant, 'snapshot' | 'settled'>;

/** An open window shows its trades with its next PARTIAL. So a difference counts only if it remains some cadences later. */
async function candlesShown(
  sources: CandleLook,
  config: Config,
  day: string | undefined,
  { onCheck = () => undefined, onWait = () => undefined }: VerifyOptions,
): Promise<CandleProof> {
  const settings = {
    ...config.ohlcv,
    processor: 'ohlcv',
    topic: topics.candles,
    ...(day === undefined ? {} : { day }),
  };
  // While trades are written, an immediate check would fail: the newest trades are not shown yet.
  if (await isWritten(sources)) await delay(config.ohlcv.partialMs + 1_500);
  for (let look = 1; ; look++) {
    const proof = await checkCandles(sources, settings);
    if (look === looks || proof.checks.every(({ differences }) => differences === 0)) {
      for (const check of proof.checks) onCheck(check);
      return proof;
    }
    onWait('open candles are not published yet');
    await delay(config.ohlcv.partialMs + 1_500);
  }
}

/** Whether trades have arrived since the snapshot, as far as is known. */
async function isWritten({ log, settled }: CandleLook): Promise<boolean> {
  const ends = await log.ends(topics.trades);
  return ends.some((end, partition) => end > (settled[partition] ?? 0n));
}

/** Event times of the day, limited to the days that the hot store keeps. */
function scopeOf({ hotStore: { retentionDays } }: Config, day: string | undefined): HotScope {
  const today = BigInt(Math.floor(Date.now() / 86_400_000));
  const kept = retentionDays === 0 ? undefined : (today - BigInt(retentionDays - 1)) * DAY;
  if (day === undefined) return kept === undefined ? {} : { from: kept };
  const { from, to } = dayRange(day);
  return { from: kept !== undefined && kept > from ? kept : from, to };
}

async function open(url: string, options: { readonly signal?: AbortSignal }): Promise<Postgres> {
  const client = await connectPostgres({ url, name: 'millrace verify', ...options });
  // Without these, most time went into sorts of a million rows that spill to disk, and into compiling queries that run once.
  await client.query("SET TIME ZONE 'UTC'; SET work_mem = '256MB'; SET jit = off");
  return client;
}
