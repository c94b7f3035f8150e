/** Repeats verifications, and serves the last verdict as metrics. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { KafkaLog } from '../../core/kafka/log.ts';
import { createLogger } from '../../core/observability/logger.ts';
import { Metrics } from '../../core/observability/metrics.ts';
import { openObservability } from '../../core/observability/server.ts';
import { VerificationMetrics } from '../../core/observability/verification.ts';
import { maxExamples } from '../../proof/report/report.ts';
import { differing } from '../../proof/report/tally.ts';
import { announce } from '../run/announce.ts';
import { type VerifyOptions, verify } from './verify.ts';

export interface ReconcileOptions {
  readonly everyMs: number;
  /** Port of /health, /ready and /metrics; 0: a free one. */
  readonly port: number;
  readonly verify: Omit<VerifyOptions, 'signal'>;
  readonly signal: AbortSignal;
}

/**
 * Runs until the signal. Differences are printed and counted, and the next run checks again. A run without a verdict (a stage is behind, a
 * part does not answer) is counted by its code, and the next run follows too.
 */
export async function reconcile(
  config: Config,
  log: KafkaLog,
  schemas: Schemas,
  options: ReconcileOptions,
): Promise<void> {
  const { everyMs, port, signal } = options;
  const logger = createLogger({ level: config.log.level, pretty: process.stderr.isTTY });
  const { registry } = new Metrics();
  const metrics = new VerificationMetrics(registry, everyMs / 1000);
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await openObservability({ registry, host: config.http.host, port }));
  stack.use(await announce(config, 'verify', server.url));
  logger.info({ url: server.url, everyMs }, 'verifying');
  while (!signal.aborted) {
    const startedMs = performance.now();
    try {
      const { checks, missing, parked, ok } = await verify(config, log, schemas, { ...options.verify, signal });
      metrics.verdict(checks, missing, (performance.now() - startedMs) / 1000);
      const wrong = checks.flatMap(({ tallies, ...check }) =>
        check.differences === 0
          ? []
          : [{ ...check, places: tallies === undefined ? [] : differing(tallies).slice(0, maxExamples) }],
      );
      if (missing.length > 0) logger.warn({ missing: missing.slice(0, maxExamples) }, 'trades are in no candle');
      if (ok) logger.info({ checks: checks.length }, 'no differences');
      else logger.error({ wrong, parked: Object.keys(parked) }, 'there are differences or parked tables');
    } catch (error) {
      if (signal.aborted) return;
      metrics.failed(error instanceof MillraceError ? error.code : 'UNKNOWN');
      logger.warn({ err: error }, 'no verdict; the next run tries again');
    }
    const restMs = everyMs - (performance.now() - startedMs);
    await delay(Math.max(restMs, 1_000), undefined, { signal }).catch(() => undefined);
  }
}
