/** All proofs of one stack, in order. */
import type { Schemas } from '../core/avro/schemas.ts';
import type { Config } from '../core/config.ts';
import { connectPostgres } from '../core/postgres.ts';
import type { Log } from '../core/runtime/log.ts';
import { openStore } from '../core/s3/open.ts';
import { checkAccounting } from '../proof/accounting.ts';
import { checkArchive } from '../proof/archive.ts';
import { checkCandles } from '../proof/candles.ts';
import { type Excluded, loadExcluded } from '../proof/excluded.ts';
import type { Check } from '../proof/report.ts';
import { archivedTopics } from '../schemas/topics.ts';

export interface Verification {
  readonly checks: readonly Check[];
  /** What is in no candle, by the processor's own account. */
  readonly excluded: Excluded;
  readonly ok: boolean;
}

/** Everything must have come to rest: what is still on its way counts as a difference. */
export async function verify(
  config: Config,
  log: Log,
  schemas: Schemas,
  onCheck: (check: Check) => void = () => undefined,
): Promise<Verification> {
  const db = await connectPostgres({ url: config.postgres.url, name: 'millrace verify' });
  await using store = openStore(config.s3);
  try {
    await db.query("SET TIME ZONE 'UTC'");
    const checks: Check[] = [];
    const take = (found: readonly Check[]): void => {
      for (const check of found) onCheck(check);
      checks.push(...found);
    };
    const excluded = await loadExcluded(db, log, schemas, 'ohlcv', config.ohlcv);
    take(await checkCandles(db, log, schemas, { ...config.ohlcv, topic: 'market.candles' }));
    take([await checkAccounting(db, config.ohlcv.intervals)]);
    for (const topic of archivedTopics) take((await checkArchive({ log, schemas, store, db }, topic)).checks);
    return { checks, excluded, ok: checks.every(({ differences }) => differences === 0) };
  } finally {
    await db.end();
  }
}
