import { describe, expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { MemoryDisks } from '../testing/memory-disk.ts';
import { Owners, topic } from './fixture.ts';

const long = { type: 'long' } as const;
const onDisk = { name: 'counts', schema: long, disk: { keys: () => [] } };
const inMemory = { name: 'names', schema: { type: 'string' } };
const both = () => new Owners([onDisk, inMemory]);

test('the next owner finds what was committed, from the copy on disk, and reads only what the copy lacks', async () => {
  const owners = both();
  const first = await owners.next();
  first.reach(5n);
  for (let i = 0; i < 100; i++) first.store<bigint>().set(`k${i}`, BigInt(i));
  first.store<string>('names').set('a', 'Ada');
  await first.commit();
  const second = await owners.next();
  expect(owners.restored).toEqual({ records: 0, rebuilt: undefined });
  expect([second.store<bigint>().get('k99'), second.store('names').get('a'), second.state.stores.size]).toEqual([
    99n,
    'Ada',
    101,
  ]);
  expect(second.state.task?.logTime).toBe(5n);
});

test('what is not committed is neither in the copy nor with the next owner', async () => {
  const owners = both();
  const first = await owners.next();
  first.store<bigint>().set('a', 1n);
  await first.commit();
  first.store<bigint>().set('a', 2n);
  first.store<bigint>().set('b', 2n);
  first.store<string>('names').set('a', 'Ada');
  await first.abort();
  const second = await owners.next();
  expect([second.store<bigint>().get('a'), second.store('counts').get('b'), second.store('names').get('a')]).toEqual([
    1n,
    undefined,
    undefined,
  ]);
  expect(second.state.stores.size).toBe(1);
});

test('a crash between the commit and the write of the copy loses nothing: the changelog has the rest', async () => {
  const owners = both();
  const first = await owners.next();
  first.store<bigint>().set('a', 1n);
  await first.commit();
  first.store<bigint>().set('a', 2n);
  first.store<bigint>().set('b', 2n);
  first.reach(9n);
  await first.commit({ crash: true });
  const second = await owners.next();
  expect(owners.restored).toEqual({ records: 3, rebuilt: undefined });
  expect([second.store<bigint>().get('a'), second.store<bigint>().get('b'), second.state.stores.size]).toEqual([
    2n,
    2n,
    2,
  ]);
  expect(second.state.task?.logTime).toBe(9n);
});

test('an owner elsewhere leaves the copy behind, and it catches up', async () => {
  const owners = both();
  const here = await owners.next();
  here.store<bigint>().set('a', 1n);
  here.store<bigint>().set('b', 1n);
  await here.commit();
  const elsewhere = await owners.next(new MemoryDisks());
  expect(owners.restored.rebuilt).toBe('there is none');
  elsewhere.store<bigint>().delete('a');
  elsewhere.store<bigint>().set('c', 1n);
  await elsewhere.commit();
  const back = await owners.next();
  expect(owners.restored.rebuilt).toBeUndefined();
  expect(['a', 'b', 'c'].map((key) => back.store('counts').get(key))).toEqual([undefined, 1n, 1n]);
  expect(back.state.stores.size).toBe(2);
});

test('a task that was dropped from the changelog is not found in the copy', async () => {
  const owners = both();
  const first = await owners.next();
  first.reach(5n);
  first.store<bigint>().set('a', 1n);
  await first.commit();
  for (const key of ['counts\u0000a', 'task']) {
    owners.log.append({ topic, partition: 0, key: Buffer.from(key), value: null, timestamp: 0n });
  }
  const second = await owners.next();
  expect([second.state.task, second.store('counts').get('a'), second.state.stores.size]).toEqual([
    undefined,
    undefined,
    0,
  ]);
});

describe('the copy is made anew', () => {
  const rebuilt = async (change: (owners: Owners) => void | Promise<void>) => {
    const owners = both();
    const first = await owners.next();
    first.store<bigint>().set('a', 1n);
    await first.commit();
    await first.state[Symbol.asyncDispose]();
    await change(owners);
    const second = await owners.next();
    return { value: second.store<bigint>().get('a'), size: second.state.stores.size, ...owners.restored };
  };

  test('when it is of another cluster', async () => {
    const change = (owners: Owners) => {
      owners.epoch = 'another';
    };
    expect(await rebuilt(change)).toMatchObject({ value: 1n, size: 1, rebuilt: 'it is of another cluster' });
  });

  test('when it is older than tombstones are kept', async () => {
    const change = (owners: Owners) => {
      owners.nowMs += 21 * 3_600_000;
    };
    expect(await rebuilt(change)).toMatchObject({ value: 1n, rebuilt: expect.stringContaining('tombstones') });
  });

  test('when the stores are declared differently', async () => {
    const change = (owners: Owners) => {
      const migrate = (old: unknown) => (old as bigint) + 1n;
      owners.definitions = [{ ...onDisk, version: 2, migrations: { 1: { schema: long, migrate } } }, inMemory];
    };
    expect(await rebuilt(change)).toMatchObject({ value: 2n, rebuilt: 'the stores are declared differently now' });
  });

  test('when it is ahead of the changelog', async () => {
    const change = (owners: Owners) => ahead(owners, 0);
    expect(await rebuilt(change)).toMatchObject({ value: undefined, rebuilt: 'it is ahead of the changelog' });
  });

  test('when the changelog is another one, even if it is as long', async () => {
    const change = (owners: Owners) => ahead(owners, 50);
    expect(await rebuilt(change)).toMatchObject({
      value: undefined,
      rebuilt: 'the changelog does not have its barrier',
    });
  });

  /** The changelog was deleted and created again, with so many records. */
  async function ahead(owners: Owners, records: number): Promise<void> {
    const fresh = new Owners([onDisk, inMemory]);
    for (let i = 0; i < records; i++) {
      const record = { key: Buffer.from('task'), value: null, timestamp: 0n };
      fresh.log.append({ topic, partition: 0, ...record });
    }
    Object.assign(owners, { log: fresh.log });
  }

  test('when it says nothing that can be read', async () => {
    const change = async (owners: Owners) => {
      const disk = await owners.disks.open('state/counter/0');
      await disk.write([{ key: 'm', value: Buffer.from('{"') }]);
    };
    expect(await rebuilt(change)).toMatchObject({ value: 1n, rebuilt: 'it is of another release' });
  });
});

test('without a migration the state is refused before anything is folded, in memory and on disk', async () => {
  for (const disk of [undefined, { keys: () => [] }]) {
    const definition = { name: 'counts', schema: long };
    const owners = new Owners([disk === undefined ? definition : { ...definition, disk }]);
    const first = await owners.next();
    first.store<bigint>().set('a', 1n);
    await first.commit();
    owners.definitions = owners.definitions.map((each) => ({ ...each, version: 3 }));
    await expect(owners.next()).rejects.toMatchObject({ code: 'STATE_VERSION', disposition: 'stop' });
  }
});

test('a restore tells how far it is, once a second, and what it restored', async () => {
  const owners = new Owners([{ name: 'counts', schema: long }]);
  const first = await owners.next();
  for (let i = 0; i < 10; i++) {
    first.store<bigint>().set('a', BigInt(i));
    await first.commit();
  }
  let asked = 0;
  Object.defineProperty(owners, 'nowMs', { get: () => 1_100 * asked++, set: () => undefined });
  await owners.next();
  expect(owners.events.at(-1)).toMatchObject({ kind: 'restored', records: 21 });
  expect(owners.events.at(-2)).toMatchObject({ kind: 'restoring', records: 21, from: 0n });
});

test('whatever commits, crashes and moves between machines do, the next owner has what was committed', async () => {
  const act = fc.oneof(
    fc.record({ key: fc.constantFrom('a', 'b', 'c'), to: fc.option(fc.bigInt(0n, 9n)) }),
    fc.constantFrom('commit', 'crash after commit', 'abort', 'move', 'stay', 'machine set back'),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 40, size: 'max' }), async (acts) => {
      const owners = both();
      const machines = [owners.disks, new MemoryDisks()];
      let at = 0;
      let backup = machines[0]?.copy() as MemoryDisks;
      let owner = await owners.next(machines[at]);
      const now = new Map<string, bigint>();
      let committed = new Map<string, bigint>();
      const next = async () => {
        owner = await owners.next(machines[at]);
        now.clear();
        for (const [key, value] of committed) now.set(key, value);
      };
      for (const each of acts) {
        if (typeof each === 'object') {
          const { key, to } = each;
          if (to === null) {
            owner.store<bigint>().delete(key);
            owner.store<string>('names').delete(key);
            now.delete(key);
          } else {
            owner.store<bigint>().set(key, to);
            owner.store<string>('names').set(key, `${to}`);
            now.set(key, to);
          }
        } else if (each === 'commit' || each === 'crash after commit') {
          await owner.commit({ crash: each !== 'commit' });
          committed = new Map(now);
          if (each !== 'commit') await next();
        } else {
          if (each === 'abort') await owner.abort();
          if (each === 'move') at = 1 - at;
          if (each === 'machine set back') machines[at] = backup.copy();
          else backup = machines[at]?.copy() as MemoryDisks;
          await next();
        }
        for (const key of ['a', 'b', 'c']) {
          expect(owner.store<bigint>().get(key)).toBe(now.get(key));
          expect(owner.store<string>('names').get(key)).toBe(now.get(key)?.toString());
        }
        expect(owner.state.stores.size).toBe(2 * now.size);
      }
    }),
    { numRuns: 150 },
  );
});
