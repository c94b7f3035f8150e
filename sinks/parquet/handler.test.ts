import { describe, expect, test } from '@jest/globals';
import { MillraceError } from '../../core/errors.ts';
import { Harness, trade } from './fixtures/harness.ts';

const trades = 'cdc.public.trades';

describe('the Parquet sink', () => {
  test('archives a partition: an object per day, listed with its offsets, and the offset committed', async () => {
    const harness = await Harness.open();
    harness.send(trades, trade({ trade_id: 'a' }));
    harness.send(trades, trade({ trade_id: 'b', executed_at: '2013-11-26T00:00:00Z' }));
    harness.log.appendMarker({ topic: trades, partition: 0 });
    harness.send(trades, trade({ trade_id: 'c', op: 'd' }));
    await harness.run(trades);
    const listed = await harness.listed(trades);
    expect(listed.map(({ key }) => key)).toEqual([
      'cluster-1/cdc.public.trades/year=2013/month=11/day=25/cdc.public.trades+0+00000000000000000000.parquet',
      'cluster-1/cdc.public.trades/year=2013/month=11/day=26/cdc.public.trades+0+00000000000000000001.parquet',
    ]);
    expect(listed).toMatchObject([
      { day: '2013-11-25', from_offset: 0n, to_offset: 4n, first_offset: 0n, last_offset: 3n, rows: 2n },
      { day: '2013-11-26', from_offset: 0n, to_offset: 4n, first_offset: 1n, last_offset: 1n, rows: 1n },
    ]);
    expect([...harness.memory.objects.keys()].sort()).toEqual(listed.map(({ key }) => key));
    expect(await harness.committed(trades)).toMatchObject({ offset: 4n, metadata: '' });
  });

  test('commits the cut before it uploads, and the next owner makes the very same objects', async () => {
    const harness = await Harness.open();
    harness.send(trades, trade());
    const owner = await harness.own(trades);
    await owner.drain();
    harness.memory.fault({ kind: 'after', error: new MillraceError('S3_UNREACHABLE', 'lost') });
    await expect(owner.flush()).rejects.toThrow('lost');
    expect(await harness.committed(trades)).toMatchObject({
      offset: 0n,
      metadata: '{"v":1,"end":"1","schemaId":1,"writerVersion":1}',
    });
    const before = [...harness.memory.objects.values()].map(({ bytes }) => bytes);
    harness.send(trades, trade({ trade_id: 'later' }));
    await harness.run(trades);
    expect(await harness.listed(trades)).toMatchObject([
      { from_offset: 0n, to_offset: 1n },
      { from_offset: 1n, to_offset: 2n },
    ]);
    expect([...harness.memory.objects.values()].map(({ bytes }) => bytes).slice(0, 1)).toEqual(before);
  });
});
