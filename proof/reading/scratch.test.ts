import { expect, test } from '@jest/globals';
import { Scratch } from './scratch.ts';

test('all appended rows are in the table, nulls as well, whether they fill a chunk or not', async () => {
  for (const count of [0, 1, 2_047, 2_048, 2_049, 5_000]) {
    await using scratch = await Scratch.open();
    await scratch.db.run('CREATE TABLE rows (n INTEGER, o BIGINT, h UBIGINT)');
    const rows = await scratch.appendTo('rows');
    const written = Array.from({ length: count }, (_, n) => ({
      n,
      o: BigInt(n) << 33n,
      h: n % 3 === 0 ? null : (1n << 64n) - BigInt(n),
    }));
    for (const { n, o, h } of written) rows.add(n, o, h);
    rows.close();
    expect(await scratch.query('FROM rows ORDER BY n')).toEqual(written);
  }
});
