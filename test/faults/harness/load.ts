/** A load under which faults are injected, and how to tell that it has come to rest. */
import { createWriteStream } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type Verification, type VerifyOptions, verify } from '../../../cli/proof/verify.ts';
import { eventTimes } from '../../../cli/status/event-times.ts';
import { readStages, stages } from '../../../cli/status/stages.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import type { Config } from '../../../core/base/config.ts';
import { dispositionOf } from '../../../core/base/errors.ts';
import type { KafkaLog } from '../../../core/kafka/log.ts';
import type { Log } from '../../../core/log/log.ts';
import { loadTrades } from '../../../storage/load/load.ts';
import { type SyntheticOptions, syntheticTrades } from '../../../storage/load/synthetic.ts';

export async function loadSynthetic(config: Config, options: SyntheticOptions): Promise<number> {
  const file = join(await mkdtemp(join(tmpdir(), 'millrace-load-')), 'trades.csv');
  await pipeline(Readable.from(syntheticTrades(options)), createWriteStream(file));
  const { inserted } = await loadTrades({ url: config.postgres.url, file, batchRows: 5_000 });
  return inserted;
}

/** The verification of what is committed by now, which all the stages may take `timeoutMs` to get to. */
export async function verifyAtRest(
  config: Config,
  log: KafkaLog,
  schemas: Schemas,
  timeoutMs: number,
  options: Pick<VerifyOptions, 'onWait' | 'signal'> = {},
): Promise<Verification> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await verify(config, log, schemas, { ...options, waitMs: Math.max(0, giveUpAt - performance.now()) });
    } catch (error) {
      // What was killed may be on its way back.
      if (dispositionOf(error) !== 'retry' || performance.now() > giveUpAt) throw error;
    }
    await delay(2_000);
  }
}

/** What the checker compares: the other processors do not run here. */
const proven = stages.filter(({ name }) => ['ohlcv', 'anomaly', 'parquet'].includes(name));

/** Each of those stages has taken all of its input. */
export async function caughtUp(log: Log, schemas: Schemas): Promise<boolean> {
  try {
    const lags = await readStages({ log, stages: proven, eventTimeOf: eventTimes(schemas) });
    return lags.every(({ lagRecords }) => lagRecords === 0n);
  } catch (error) {
    if (dispositionOf(error) === 'retry') return false;
    throw error;
  }
}

/** Repeatable pseudo-random numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
