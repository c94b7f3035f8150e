import { expect, test } from '@jest/globals';
import { pipelineStages } from '../../sinks/manifests/archive-progress.ts';
import { ManifestHarness, trades } from '../../sinks/manifests/fixtures/harness.ts';
import { stages } from '../status/stages.ts';
import { readDayLines } from './days.ts';

const signal = new AbortController().signal;

test('a day has the state of its newest manifest, beside the files listed since', async () => {
  const harness = await ManifestHarness.open();
  const { log, schemas } = harness.archive;
  expect(await readDayLines(log, schemas, [trades], signal)).toEqual([]);
  await harness.list('2013-11-25', '2013-11-25');
  await harness.run();
  await harness.list('2013-11-26', '2013-11-25');
  const lines = await readDayLines(log, schemas, ['market.candles', trades], signal);
  expect(lines).toMatchObject([
    { topic: trades, day: '2013-11-25', stands: { state: 'OPEN', revision: 1, files: 2n, manifest: 1 }, waiting: 1 },
    { topic: trades, day: '2013-11-26', stands: undefined, waiting: 1 },
  ]);
});

test('a topic is archived up to a point when every stage between Postgres and its archive is past it', () => {
  const sink = stages.find(({ name }) => name === 'parquet');
  expect(Object.keys(pipelineStages).sort()).toEqual([...(sink?.inputs ?? [])].sort());
  for (const [topic, way] of Object.entries(pipelineStages)) {
    expect(way.at(-1)).toEqual([{ name: 'parquet', topic }]);
    for (const readers of way.slice(0, -1)) {
      const inputs = stages.find(({ name }) => name === readers[0]?.name)?.inputs ?? [];
      expect(readers).toEqual(inputs.map((input) => ({ name: readers[0]?.name, topic: input })));
    }
  }
});
