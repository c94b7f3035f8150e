/** All proofs of one stack, in order. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Schemas } from '../core/avro/schemas.ts';
import type { Config } from '../core/config.ts';
import { GroupAdmin } from '../core/kafka/groups.ts';
import { connectPostgres } from '../core/postgres.ts';
import type { Log } from '../core/runtime/log.ts';
import { openStore } from '../core/s3/open.ts';
import { DAY } from '../core/time.ts';
import { checkArchive } from '../proof/archive.ts';
import { type CandleProof, checkCandles } from '../proof/candles/candles.ts';
import type { Excluded } from '../proof/candles/excluded.ts';
import { checkHot } from '../proof/hot-store/check.ts';
import { type Behind, type Moment, type Step, takeMoment } from '../proof/live/moment.ts';
import type { Reader } from '../proof/live/passing.ts';
import type { Check } from '../proof/report.ts';
import { archivedTopics, hotTopics } from '../schemas/topics.ts';
import { masksOf } from './capture.ts';
import { hotStoreUrl } from './services.ts';

export interface Verification {
  readonly checks: readonly Check[];
  /** What is in no candle, by the processor's own account. */
  readonly excluded: Excluded;
  /** The instant that was compared, as `pg_current_snapshot()` writes it. */
  readonly snapshot: string;
  /** Stages that do not run and have not taken everything: of them what they have taken was compared. */
  readonly behind: readonly Behind[];
  readonly ok: boolean;
}

export interface VerifyOptions {
  /** Longest wait for the stages to take what is visible, milliseconds. Default 60,000. */
  readonly waitMs?: number;
  readonly onCheck?: (check: Check) => void;
  /** Told what is waited for. */
  readonly onWait?: (text: string) => void;
  readonly signal?: AbortSignal;
}

const trades = 'cdc.public.trades';
const reader =
  (topic: string) =>
  (name: string): Reader => ({ name, topic });

/** What has to take a row before it can be compared, in the order of its way. */
const steps: readonly Step[] = [
  { needed: ['ohlcv', 'parquet'].map(reader(trades)), others: ['anomaly', 'features'].map(reader(trades)) },
  { needed: [], others: ['anomaly', 'parquet', 'hot-store'].map(reader('market.candles')) },
  {
    needed: [],
    others: [
      ...archivedTopics.slice(2).map((topic) => ({ name: 'parquet', topic })),
      ...hotTopics.slice(1).map((topic) => ({ name: 'hot-store', topic })),
    ],
  },
];

/**
 * Compares one instant of Postgres with what came of it, beside everything that is written meanwhile: a change counts if its transaction is
 * visible in that instant, and what came later is no difference.
 *
 * @throws MillraceError STAGE_BEHIND, and what the parts say when they cannot be reached
 */
export async function verify(
  config: Config,
  log: Log,
  schemas: Schemas,
  options: VerifyOptions = {},
): Promise<Verification> {
  const { onCheck = () => undefined, onWait = () => undefined, waitMs = 60_000 } = options;
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  const { brokers, clientId } = config.kafka;
  await using groups = await GroupAdmin.open({ brokers, clientId });
  await using store = openStore(config.s3);
  await using db = await open(config, signal);
  await using other = await open(config, signal);
  const heartbeatTopic = `${config.capture.prefix}.public.heartbeat`;
  const isRunning = async (group: string) => (await groups.members(group)).length > 0;
  const waiting = { log, schemas, heartbeatTopic, steps, isRunning, waitMs, onWait, ...signal };
  const { snapshot, behind } = await takeMoment(db.client, other.client, waiting);
  const checks: Check[] = [];
  const take = (found: readonly Check[]): void => {
    for (const check of found) onCheck(check);
    checks.push(...found);
  };
  const sources = { db: db.client, log, schemas, store, snapshot, masks: masksOf(config) };
  const candles = await candlesShown(sources, config, onWait);
  take(candles.checks);
  for (const topic of archivedTopics) take((await checkArchive(sources, topic)).checks);
  await using hot = await open({ ...config, postgres: { url: hotStoreUrl(config) } }, signal);
  for (const topic of hotTopics) take([await checkHot({ log, schemas, hot: hot.client }, topic, kept(config))]);
  const ok = checks.every(({ differences }) => differences === 0);
  return { checks, excluded: candles.excluded, snapshot: snapshot.parts.text, behind, ok };
}

/** Looks a candle takes to be shown: its PARTIAL comes at a cadence of log time, which heartbeats move. */
const looks = 3;

/** A window that is open shows what it has taken with its next PARTIAL. So a difference counts once it is still there some cadences later. */
async function candlesShown(
  sources: Parameters<typeof checkCandles>[0] & { readonly snapshot: Moment['snapshot'] },
  config: Config,
  onWait: (text: string) => void,
): Promise<CandleProof> {
  const settings = { ...config.ohlcv, processor: 'ohlcv', topic: 'market.candles' };
  for (let look = 1; ; look++) {
    const proof = await checkCandles(sources, settings);
    if (look === looks || proof.checks.every(({ differences }) => differences === 0)) return proof;
    onWait('open candles have to be shown');
    await delay(config.ohlcv.partialMs + 1_500);
  }
}

/** Event times of the days that the hot store keeps. */
function kept({ hotStore: { retentionDays } }: Config): { readonly from?: bigint } {
  if (retentionDays === 0) return {};
  const today = BigInt(Math.floor(Date.now() / 86_400_000));
  return { from: (today - BigInt(retentionDays - 1)) * DAY };
}

async function open(config: Config, options: { readonly signal?: AbortSignal }) {
  const client: Client = await connectPostgres({ url: config.postgres.url, name: 'millrace verify', ...options });
  const closing = { client, [Symbol.asyncDispose]: () => client.end().catch(() => undefined) };
  await client.query("SET TIME ZONE 'UTC'");
  return closing;
}
