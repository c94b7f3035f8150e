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
import { type Elsewhere, elsewhere } from '../../proof/archive/epochs.ts';
import { type CandleProof, type CandleSources, checkCandles } from '../../proof/candles/candles.ts';
import type { Excluded } from '../../proof/candles/excluded.ts';
import type { MissingTrades } from '../../proof/candles/missing.ts';
import { checkHot, type HotScope } from '../../proof/hot-store/check.ts';
import { type Behind, type Moment, type Step, takeMoment } from '../../proof/live/moment.ts';
import type { Reader } from '../../proof/live/passing.ts';
import { Snapshot } from '../../proof/live/snapshot.ts';
import { dayRange } from '../../proof/reading/day.ts';
import type { Check } from '../../proof/report/report.ts';
import { archivedTopics, hotTopics } from '../../schemas/topics.ts';
import { definitionOf, masksOf } from '../capture/capture.ts';
import { hotStoreUrl } from '../run/services.ts';

export interface Verification {
  readonly checks: readonly Check[];
  /** What is in no candle, by the processor's own account. Undefined where candles were not compared. */
  readonly excluded: Excluded | undefined;
  /** Trades of Postgres that are in no candle of an interval, with the reason; empty where candles were not compared. */
  readonly missing: readonly MissingTrades[];
  /** The instant that was compared, as `pg_current_snapshot()` writes it. */
  readonly snapshot: string;
  /** Stages that do not run and have not taken everything: of them what they have taken was compared. */
  readonly behind: readonly Behind[];
  /** What the bucket has of other logs. */
  readonly elsewhere: readonly Elsewhere[];
  /** Tables that are not captured by order, and therefore not proven, by name. */
  readonly parked: Parked;
  readonly ok: boolean;
}

/** What can be compared on its own. */
export const tableNames = ['trades', 'instruments', 'candles', 'anomalies', 'features'] as const;
export type TableName = (typeof tableNames)[number];

export interface VerifyOptions {
  /** Default: all. */
  readonly tables?: readonly TableName[];
  /** Only rows whose event time is on this UTC day, `YYYY-MM-DD`. Default: all. */
  readonly day?: string;
  /** Longest wait for the stages to take what is visible while none of them gets on, milliseconds. Default 60,000. */
  readonly waitMs?: number;
  readonly onCheck?: (check: Check) => void;
  /** Told what is waited for. */
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

/** What has to take a row of these tables before it can be compared, in the order of its way. */
function stepsOf(tables: ReadonlySet<TableName>): readonly Step[] {
  const read = (name: string, table: TableName): Reader => ({ name, topic: topics[table] });
  const some = (wanted: boolean, ...readers: Reader[]): Reader[] => (wanted ? readers : []);
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
 * Compares one instant of Postgres with what came of it, beside everything that is written meanwhile: a change counts if its transaction is
 * visible in that instant, and what came later is no difference.
 *
 * @throws MillraceError STAGE_BEHIND, and what the parts say when they cannot be reached
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
    steps: stepsOf(tables),
    isRunning,
    isPaused,
    waitMs,
    onWait,
    ...signal,
  };
  await using moment = await takeMoment(db, other, waiting);
  const { snapshot, settled, passed } = moment;
  const [folded, archived] = passed;
  const sources = { db, log, schemas, store, snapshot, settled, masks: masksOf(config) };
  await Snapshot.share(db, other);
  // Side by side, each with a connection: what Postgres computes for one takes no time from what is decoded here for the other.
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

/** Looks a candle takes to be shown: its PARTIAL comes at a cadence of log time, which heartbeats move. */
const looks = 3;

type CandleLook = CandleSources & Pick<Moment, 'snapshot' | 'settled'>;

/** A window that is open shows what it has taken with its next PARTIAL. So a difference counts once it is still there some cadences later. */
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
  // Beside writers this look would be wasted: it is those that came last that are not shown yet.
  if (await isWritten(sources)) await delay(config.ohlcv.partialMs + 1_500);
  for (let look = 1; ; look++) {
    const proof = await checkCandles(sources, settings);
    if (look === looks || proof.checks.every(({ differences }) => differences === 0)) {
      for (const check of proof.checks) onCheck(check);
      return proof;
    }
    onWait('open candles have to be shown');
    await delay(config.ohlcv.partialMs + 1_500);
  }
}

/** Whether trades have come since the snapshot was taken, as far as is known. */
async function isWritten({ log, settled }: CandleLook): Promise<boolean> {
  const ends = await log.ends(topics.trades);
  return ends.some((end, partition) => end > (settled[partition] ?? 0n));
}

/** Event times of the day, and of the days that the hot store keeps. */
function scopeOf({ hotStore: { retentionDays } }: Config, day: string | undefined): HotScope {
  const today = BigInt(Math.floor(Date.now() / 86_400_000));
  const kept = retentionDays === 0 ? undefined : (today - BigInt(retentionDays - 1)) * DAY;
  if (day === undefined) return kept === undefined ? {} : { from: kept };
  const { from, to } = dayRange(day);
  return { from: kept !== undefined && kept > from ? kept : from, to };
}

async function open(url: string, options: { readonly signal?: AbortSignal }): Promise<Postgres> {
  const client = await connectPostgres({ url, name: 'millrace verify', ...options });
  // Sorts of a million rows that spill to disk, and compiling queries that run once, took most of the time.
  await client.query("SET TIME ZONE 'UTC'; SET work_mem = '256MB'; SET jit = off");
  return client;
}
