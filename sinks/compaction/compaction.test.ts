import { describe, expect, test } from '@jest/globals';
import { queryParquet } from '../../core/archive/fixtures/read.ts';
import { planOf } from '../../core/archive/keys.ts';
import { CompactionHarness, trades } from './fixtures/harness.ts';
import { sumOf } from './plan/groups.ts';

const day = '2013-11-25';
const other = '2013-11-26';

/** Three objects of a complete day, times and symbols mixed. */
async function small(partitions = 1): Promise<CompactionHarness> {
  const harness = await CompactionHarness.open(partitions);
  await harness.archive(day, ['12:00:00', '09:00:00'], { symbol: 'ETH-USD' });
  await harness.archive(day, ['11:00:00', '23:59:59.999999'], { symbol: 'BTC-USD' });
  await harness.archive(day, ['08:00:00'], { symbol: 'ETH-USD' });
  await harness.settle();
  return harness;
}

describe('a compaction', () => {
  test('puts the small files of a complete day into one, with the same rows, by symbol and time', async () => {
    await using harness = await small();
    const before = await harness.listed();
    const rows = await harness.rowsOf(before);
    const { done, failed } = await harness.compact();
    expect(failed).toEqual([]);
    expect(done).toMatchObject([
      { topic: trades, day, partition: 0, before: { files: 3 }, after: { files: 1 }, rows: 5n },
    ]);
    const after = await harness.listed();
    expect(after).toHaveLength(1);
    expect(await harness.rowsOf(after)).toEqual(rows);
    expect(sumOf(after).rowHash).toBe(sumOf(before).rowHash);
    expect(after[0]).toMatchObject({
      first_offset: 0n,
      last_offset: before.at(-1)?.last_offset,
      rows: 5n,
      from_offset: 0n,
    });
    expect(after[0]?.to_offset).toBe(before.at(-1)?.to_offset);
    const bytes = harness.store.objects.get(after[0]?.key ?? '')?.bytes as Buffer;
    const found = await queryParquet(
      bytes,
      'SELECT symbol, executed_at::VARCHAR AS at FROM FILE ORDER BY file_row_number',
    );
    expect(found.map(({ symbol, at }) => `${symbol} ${String(at).slice(11, 26)}`)).toEqual([
      'BTC-USD 11:00:00+00',
      'BTC-USD 23:59:59.999999',
      'ETH-USD 08:00:00+00',
      'ETH-USD 09:00:00+00',
      'ETH-USD 12:00:00+00',
    ]);
  });

  test('changes no value and no lineage, read by DuckDB, and no column', async () => {
    await using harness = await small();
    const before = await harness.listed();
    const files = before.map(({ key }) => harness.store.objects.get(key)?.bytes as Buffer);
    await harness.compact();
    const [object] = await harness.listed();
    const bytes = harness.store.objects.get(object?.key ?? '')?.bytes as Buffer;
    const ordered = 'SELECT * FROM FILE ORDER BY _offset';
    const were = await Promise.all(files.map((file) => queryParquet(file, ordered)));
    expect(await queryParquet(bytes, ordered)).toEqual(were.flat());
    const columns = `SELECT * EXCLUDE (file_name) FROM parquet_schema(FILE)`;
    expect(await queryParquet(bytes, columns)).toEqual(await queryParquet(files[0] as Buffer, columns));
  });

  test('says in the footer where the rows are from and how they are sorted', async () => {
    await using harness = await small();
    const [first] = await harness.listed();
    await harness.compact();
    const [object] = await harness.listed();
    const bytes = harness.store.objects.get(object?.key ?? '')?.bytes as Buffer;
    const entries = await queryParquet(
      bytes,
      'SELECT decode(key) AS k, decode(value) AS v FROM parquet_kv_metadata(FILE)',
    );
    expect(Object.fromEntries(entries.map(({ k, v }) => [k, v]))).toMatchObject({
      'millrace.topic': trades,
      'millrace.partition': '0',
      'millrace.first_offset': '0',
      'millrace.last_offset': String(object?.last_offset),
      'millrace.schema_id': String(first?.schema_id),
      'millrace.row_hash': object?.row_hash,
      'millrace.plan': String(planOf(object?.key ?? '')),
      'millrace.cuts': `0-${object?.to_offset}`,
      'millrace.sorted_by': 'venue,symbol,executed_at,_offset',
    });
  });

  test('makes the next manifest, and the day stays complete in its next revision, with a mark of its own', async () => {
    await using harness = await small();
    const before = await harness.day(day);
    await harness.compact();
    expect((await harness.day(day))?.manifest).toBe(before?.manifest);
    await harness.settle();
    const after = await harness.day(day);
    expect(await harness.manifests.history(day)).toEqual(['OPEN 1 1', 'COMPLETE 1 1', 'COMPLETE 2 2']);
    expect(after).toMatchObject({ files: 1n, rows: before?.rows, row_hash: before?.row_hash, passed: before?.passed });
    expect(after?.success_key).toMatch(/_SUCCESS\.2\.json$/);
    expect(JSON.parse(harness.manifests.bytes(after?.success_key ?? '')?.toString() ?? '')).toMatchObject({
      manifest: 2,
    });
    expect(harness.newestManifests()[0]?.files.map(({ key }) => key)).toEqual(
      (await harness.listed()).map(({ key }) => key),
    );
  });

  test('has the same bytes wherever it is made, names included', async () => {
    await using a = await small();
    await using b = await small();
    for (const harness of [a, b]) {
      await harness.compact();
      await harness.settle();
    }
    const contents = (harness: CompactionHarness) =>
      new Map([...harness.store.objects].map(([key, { bytes }]) => [key, bytes.toString('base64')]));
    expect(contents(a)).toEqual(contents(b));
  });

  test('leaves days alone that are not complete, and does nothing twice', async () => {
    await using harness = await CompactionHarness.open();
    await harness.archive(day, ['12:00:00']);
    await harness.archive(day, ['13:00:00']);
    expect((await harness.compact()).done).toEqual([]);
    await harness.settle();
    await harness.archive(day, ['14:00:00']);
    await harness.manifests.run();
    expect((await harness.day(day))?.state).toBe('REOPENED');
    expect((await harness.compact()).done).toEqual([]);
    await harness.settle();
    expect((await harness.compact()).done).toHaveLength(1);
    expect((await harness.compact()).done).toEqual([]);
    expect(await harness.steps()).toEqual(['PLANNED', 'COMPACTED']);
  });

  test('puts partitions, days and writer schemas together with none but their own', async () => {
    await using harness = await CompactionHarness.open(2);
    for (const [each, partition] of [
      [day, 0],
      [day, 1],
      [other, 1],
    ] as const) {
      for (const time of ['01:00:00', '02:00:00']) await harness.archive(each, [time], { partition });
    }
    await harness.settle();
    const { done } = await harness.compact();
    expect(done.map((each) => [each.day, each.partition, each.after.files])).toEqual([
      [day, 0, 1],
      [day, 1, 1],
      [other, 1, 1],
    ]);
    expect(await harness.rowsOf(await harness.listed())).toHaveLength(6);
  });

  test('takes a late row into the file that is small still; the day is reopened, complete, and compacted again', async () => {
    await using harness = await small();
    await harness.compact();
    await harness.settle();
    await harness.archive(day, ['00:00:01']);
    await harness.settle();
    expect(await harness.listed()).toHaveLength(2);
    expect((await harness.compact()).done).toMatchObject([{ before: { files: 2 }, after: { files: 1 }, rows: 6n }]);
    await harness.settle();
    expect(await harness.manifests.history(day)).toEqual([
      'OPEN 1 1',
      'COMPLETE 1 1',
      'COMPLETE 2 2',
      'REOPENED 3 3',
      'COMPLETE 3 3',
      'COMPLETE 4 4',
    ]);
    expect((await harness.rowsOf(await harness.listed())).length).toBe(6);
  });

  test('makes files of about the target, and leaves those alone that have it', async () => {
    await using harness = await small();
    const [least = 0n] = (await harness.listed()).map(({ bytes }) => bytes).sort();
    harness.targetBytes = Number(least);
    expect((await harness.compact()).done).toMatchObject([{ before: { files: 3 }, after: { files: 3 } }]);
    const made = (await harness.listed()).map(({ key }) => key);
    expect(made.map(planOf)).toEqual([0n, 0n, 0n]);
    expect((await harness.listed()).map(({ rows }) => rows).sort()).toEqual([1n, 2n, 2n]);
    await harness.settle();
    for (const time of ['00:00:01', '00:00:02']) await harness.archive(day, [time]);
    await harness.settle();
    expect((await harness.compact()).done).toMatchObject([{ before: { files: 2 } }]);
    expect((await harness.listed()).map(({ key }) => key)).toEqual(expect.arrayContaining(made));
    expect(await harness.rowsOf(await harness.listed())).toHaveLength(7);
  });

  test('leaves a group as it is whose file is damaged, names it, and goes on; when it is repaired it is done', async () => {
    await using harness = await small();
    await harness.archive(other, ['01:00:00']);
    await harness.archive(other, ['02:00:00']);
    await harness.settle();
    const before = await harness.listed();
    const [damaged] = before;
    const stored = harness.store.objects.get(damaged?.key ?? '');
    harness.store.objects.delete(damaged?.key ?? '');
    const { done, failed } = await harness.compact();
    expect(done.map((each) => each.day)).toEqual([other]);
    expect(failed).toMatchObject([
      { day, error: { code: 'ARCHIVE_DAMAGED', message: expect.stringContaining(damaged?.key ?? '') } },
    ]);
    expect(await harness.steps()).toEqual(['PLANNED', 'ABANDONED', 'PLANNED', 'COMPACTED']);
    harness.store.objects.set(damaged?.key ?? '', stored as NonNullable<typeof stored>);
    expect((await harness.compact()).done.map((each) => each.day)).toEqual([day]);
    expect(await harness.rowsOf(await harness.listed())).toEqual(await harness.rowsOf(before));
  });

  test('compares rows and row hash of what it reads with the records', async () => {
    await using harness = await small();
    const [first, second] = await harness.listed();
    const at = `archive.${trades}.objects`;
    const [record] = harness.manifests.archive.log.records(at);
    const value = record?.value as Buffer;
    // The in-memory log hands out its own bytes, so this write changes the stored record.
    value.write(second?.row_hash ?? '', value.indexOf(first?.row_hash ?? ''));
    const { failed } = await harness.compact();
    expect(failed).toMatchObject([
      { error: { code: 'ARCHIVE_DAMAGED', message: expect.stringContaining('row hash') } },
    ]);
  });
});
