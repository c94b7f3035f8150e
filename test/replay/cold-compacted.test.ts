/** Records are made again from compacted files as from the sink's own, in the order of the log; a day that was given up is a gap. */
import { expect, test } from '@jest/globals';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { envelope, envelopeSchema, tradeFields, tradeRow } from '../../core/avro/fixtures/debezium.ts';
import { type LogRecord, readRange } from '../../core/log/log.ts';
import { ColdLog } from '../../proof/replay/cold/log.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { CompactionHarness, trades } from '../../sinks/compaction/fixtures/harness.ts';

const options = { maxWaitMs: 0, maxBytesPerPartition: 1 << 20 };
const days = ['2013-11-25', '2013-11-26'] as const;

async function archived(): Promise<CompactionHarness> {
  const harness = await CompactionHarness.open();
  const { log } = harness.manifests.archive;
  for (const day of days) {
    await harness.archive(day, ['12:00:00', '09:00:00', '10:00:00'], { symbol: 'ETH-USD' });
    log.appendMarker({ topic: trades, partition: 0 });
    await harness.archive(day, ['11:00:00', '23:59:59.999999']);
  }
  await harness.archive(days[0], ['07:00:00']);
  await harness.settle();
  return harness;
}

async function recordsOf({ manifests, store }: CompactionHarness): Promise<string[]> {
  const { log, schemas } = manifests.archive;
  await using cold = await ColdLog.open({
    log,
    schemas,
    store,
    inputs: [{ topic: trades, schema: contracts.trade_change }],
  });
  const [to = 0n] = await log.ends(trades);
  const found: LogRecord[] = [];
  for await (const records of readRange(cold, { topic: trades, partition: 0, from: 0n, to }, options))
    found.push(...records);
  return plain(found, schemas);
}

/** What processors read of records. */
async function plain(
  records: readonly LogRecord[],
  schemas: CompactionHarness['manifests']['archive']['schemas'],
): Promise<string[]> {
  const decoder = new AvroDecoder<object>(schemas, contracts.trade_change);
  const lines: string[] = [];
  for (const { offset, timestamp, value } of records) {
    await decoder.prepare(decoder.missing([value]));
    const said = JSON.stringify(decoder.decode(value as Buffer), (_, each) =>
      typeof each === 'bigint' ? `${each}` : each,
    );
    lines.push(`${offset} ${timestamp} ${said.replaceAll(/(T\d\d:\d\d:\d\d)Z/g, '$1.000000Z')}`);
  }
  return lines;
}

test('a column of the source may be called as DuckDB calls the file of a row', async () => {
  await using harness = await CompactionHarness.open();
  const { archive } = harness.manifests;
  const column = { name: 'filename', type: ['null', 'string'], default: null };
  const schema = envelopeSchema(trades, [...tradeFields, column]);
  const encoder = await AvroEncoder.open<object>(archive.schemas, `${trades}-value`, schema);
  for (const trade_id of ['a', 'b']) {
    const after = tradeRow({ trade_id, filename: 'x.csv' });
    archive.send(trades, encoder.encode(envelope({ after })));
    await archive.run(trades);
  }
  await harness.settle();
  const logged = await plain(archive.log.records(trades, 0), archive.schemas);
  expect(logged).toHaveLength(2);
  expect(await recordsOf(harness)).toEqual(logged);
  expect((await harness.compact()).done).toHaveLength(1);
  expect(await recordsOf(harness)).toEqual(logged);
});

test('from compacted files come the records of the log, and of a day that expired they are missing, by name', async () => {
  await using harness = await archived();
  const { log, schemas } = harness.manifests.archive;
  const logged = await plain(log.records(trades, 0), schemas);
  expect(logged).toHaveLength(11);
  expect(await recordsOf(harness)).toEqual(logged);
  expect((await harness.compact()).done).toHaveLength(2);
  await harness.sweep(-1);
  expect((await harness.listed()).map(({ rows }) => rows)).toEqual([6n, 5n]);
  log.trim({ topic: trades, partition: 0 }, 12n);
  expect(await recordsOf(harness)).toEqual(logged);
  await harness.settle();
  await harness.expire(days[1]);
  expect(await harness.listed()).toHaveLength(1);
  await expect(recordsOf(harness)).rejects.toMatchObject({
    code: 'REPLAY_IMPOSSIBLE',
    message: expect.stringContaining(`rows of ${days[0]} were removed from the archive`),
  });
});
