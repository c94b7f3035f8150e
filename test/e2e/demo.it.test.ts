import { expect, test } from '@jest/globals';
import { Home } from './home.ts';

test('the demo loads 100,000 real trades into a fresh stack, verifies all of them, and leaves nothing running', async () => {
  await using home = Home.open('demo');
  const { code, output, errors } = await home.cli('demo');
  const said = output + errors;
  expect(said).toMatch(/✓ 100,000 of 100,000 trades verified in Parquet, all candles equal/);
  expect(said).not.toContain('✗');
  expect(code).toBe(0);
  const { parts } = await home.json<{ parts: { running: boolean }[] }>('status');
  expect(parts.map(({ running }) => running)).not.toContain(true);
});
