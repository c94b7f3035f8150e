import { expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { VerificationMetrics } from './verification.ts';

async function shown(registry: Registry): Promise<string[]> {
  return (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

test('the metrics are those of the last verdict: what was skipped is absent, and a run without a verdict changes none of them', async () => {
  const registry = new Registry();
  let now = 5_000;
  const metrics = new VerificationMetrics(registry, 60, () => now);
  now = 7_000;
  metrics.verdict(
    [
      { name: 'candles', differences: 2 },
      { name: 'gone tomorrow', differences: 0 },
    ],
    [{ interval: '1m', reason: 'BAD_RECORD', trades: 1 }],
    1.5,
  );
  now = 9_000;
  metrics.verdict(
    [
      { name: 'candles', differences: 0 },
      { name: 'hot store', differences: 0, skipped: true },
    ],
    [
      { interval: '1m', reason: 'LATE', trades: 3 },
      { interval: '1m', reason: 'LATE', trades: 4 },
    ],
    2.5,
  );
  metrics.failed('STAGE_BEHIND');
  expect(await shown(registry)).toEqual([
    'millrace_verify_differences{check="candles"} 0',
    'millrace_verify_trades_in_no_candle{interval="1m",reason="LATE"} 7',
    'millrace_verify_completed_seconds 9',
    'millrace_verify_seconds 2.5',
    'millrace_verify_every_seconds 60',
    'millrace_verify_failures_total{reason="STAGE_BEHIND"} 1',
  ]);
});

test('without any verdict the start of the process counts, so that a first one that never comes is missed too', async () => {
  const registry = new Registry();
  expect(new VerificationMetrics(registry, 60, () => 5_000)).toBeDefined();
  expect(await shown(registry)).toEqual([
    'millrace_verify_completed_seconds 5',
    'millrace_verify_seconds 0',
    'millrace_verify_every_seconds 60',
  ]);
});
