import { beforeEach, describe, expect, test } from '@jest/globals';
import { positionsOfArchive } from '../../core/operations/offsets/positions.ts';
import { planRestore, restoreOffsets } from '../../core/operations/offsets/restore.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { Harness, trade } from './fixtures/harness.ts';

const topic = 'cdc.public.trades';
const at = { topic, partition: 0 };
const group = groupOf('parquet');
const groups = { members: async () => [], offsetsAt: async () => [] };

let harness: Harness;
let sent = 0;

beforeEach(async () => {
  harness = await Harness.open();
  sent = 0;
});

function send(count: number): void {
  for (let i = 0; i < count; i++) harness.send(topic, trade({ trade_id: `${sent++}` }));
}

async function restore(skipLost = false): Promise<void> {
  const { log, schemas } = harness;
  const options = { log, groups, positions: positionsOfArchive(schemas, 'parquet', [topic]), skipLost };
  await restoreOffsets(options, await planRestore(options));
}

const cuts = async () =>
  (await harness.listed(topic)).map(({ from_offset, to_offset, rows }) => [from_offset, to_offset, rows].map(Number));

describe('the archive, when the offsets of its group have expired,', () => {
  beforeEach(async () => {
    send(4);
    await harness.run(topic);
    send(2);
    await harness.run(topic);
  });

  test('stops before it writes anything, and goes on behind the newest listed object after a restore', async () => {
    harness.log.forget(group);
    send(1);
    const before = [...harness.memory.objects.keys()];
    await expect(harness.run(topic)).rejects.toMatchObject({
      code: 'OFFSETS_EXPIRED',
      remedy: expect.stringContaining('millrace offsets restore parquet'),
    });
    expect([...harness.memory.objects.keys()]).toEqual(before);
    await restore();
    await harness.run(topic);
    expect(await cuts()).toEqual([
      [0, 4, 4],
      [4, 6, 2],
      [6, 7, 1],
    ]);
  });

  test('stops, too, when retention has taken the head of the log, which it has archived', async () => {
    harness.log.forget(group);
    harness.log.trim(at, 1n);
    send(1);
    await expect(harness.run(topic)).rejects.toMatchObject({ code: 'OFFSETS_EXPIRED' });
    await restore();
    await harness.run(topic);
    expect((await cuts()).at(-1)).toEqual([6, 7, 1]);
  });

  test('is refused a restore over records that were never archived, and with --skip-lost leaves a gap in the list', async () => {
    send(3);
    harness.log.forget(group);
    harness.log.trim(at, 8n);
    await expect(restore()).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
      message: expect.stringContaining('2 offsets from 6 on'),
      remedy: expect.stringContaining('--skip-lost'),
    });
    await restore(true);
    await restore();
    await harness.run(topic);
    send(1);
    await harness.run(topic);
    expect((await cuts()).slice(1)).toEqual([
      [4, 6, 2],
      [8, 9, 1],
      [9, 10, 1],
    ]);
  });

  test.each([0n, 4n, 7n])('stops at an offset that was set by hand: %p', async (offset) => {
    send(2);
    await using writer = await harness.log.writer('somebody');
    await writer.transact({ records: [], offsets: { group, positions: [{ ...at, offset }] } });
    await expect(harness.run(topic)).rejects.toMatchObject({ code: 'POSITION_MISMATCH' });
    await restore();
    await harness.run(topic);
    expect((await cuts()).at(-1)).toEqual([6, 8, 2]);
  });

  test('takes records again that were committed and are in no object', async () => {
    harness.send(topic, Buffer.from([0, 0, 0]));
    harness.log.appendMarker(at);
    await harness.run(topic);
    // The committed offset is past the newest object: no stop.
    await harness.run(topic);
    harness.log.forget(group);
    await restore();
    send(1);
    await harness.run(topic);
    expect((await cuts()).at(-1)).toEqual([6, 9, 1]);
    expect((await harness.listed(topic)).at(-1)?.dead_letters).toBe(1n);
  });
});

test('an archive without a listed object begins at the start of the log', async () => {
  send(3);
  harness.log.trim(at, 1n);
  await harness.run(topic);
  expect(await cuts()).toEqual([[1, 3, 2]]);
});
