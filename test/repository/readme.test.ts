import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { projectDir } from '../../cli/settings/config.ts';
import type { Processor } from '../../core/processor/define.ts';
import { Driver } from '../../core/testing/driver.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { candle } from '../support/candle.ts';

test('the processor of the README does what it says, also over a crash', async () => {
  const readme = await readFile(join(projectDir, 'README.md'), 'utf8');
  const code = /```ts\n(import[\s\S]*?)```/.exec(readme)?.[1] ?? '';
  expect(code.split('\n').filter((line) => line !== '').length).toBeLessThanOrEqual(25);
  await mkdir(join(projectDir, '.millrace'), { recursive: true });
  const dir = await mkdtemp(join(projectDir, '.millrace', 'readme-'));
  try {
    const file = join(dir, 'activity.ts');
    await writeFile(file, code);
    const { activity } = (await import(file)) as { activity: Processor<Candle> };
    await using driver = await Driver.open(activity, { commitRecords: 1 });
    driver.send(candle('A'));
    await driver.run();
    driver.crash();
    driver.send({ ...candle('A'), trade_count: 4n });
    driver.send({ ...candle('A'), status: 'PARTIAL' });
    await driver.run();
    const emitted = await driver.outputs<{ symbol: string }, { trades: bigint }>('market.activity');
    expect(emitted.map(({ key, value }) => [key?.symbol, value?.trades])).toEqual([
      ['A', 3n],
      ['A', 7n],
    ]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
