import { expect, test } from '@jest/globals';
import { mapConcurrently } from './map-concurrently.ts';

/** Work that goes on when it is told to. */
function held() {
  const going = new Map<number, { resolve: (value: string) => void; reject: (reason: Error) => void }>();
  const begun: number[] = [];
  const work = (item: number, index: number): Promise<string> => {
    begun.push(item);
    expect(index).toBe(item);
    return new Promise((resolve, reject) => going.set(item, { resolve, reject }));
  };
  return { going, begun, work };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('so many are under way at a time, and results are in the order of the items', async () => {
  const { going, begun, work } = held();
  const done = mapConcurrently([0, 1, 2, 3], 2, work);
  expect(begun).toEqual([0, 1]);
  going.get(1)?.resolve('b');
  await turn();
  expect(begun).toEqual([0, 1, 2]);
  going.get(2)?.resolve('c');
  await turn();
  going.get(3)?.resolve('d');
  going.get(0)?.resolve('a');
  expect(await done).toEqual(['a', 'b', 'c', 'd']);
});

test('a failure begins nothing more, and is thrown when nothing is under way', async () => {
  const { going, begun, work } = held();
  let isOver = false;
  const done = mapConcurrently([0, 1, 2, 3], 2, work).finally(() => {
    isOver = true;
  });
  going.get(1)?.reject(new Error('first'));
  await turn();
  expect([begun, isOver]).toEqual([[0, 1], false]);
  going.get(0)?.reject(new Error('second'));
  await expect(done).rejects.toThrow('first');
  expect(begun).toEqual([0, 1]);
});

test('nothing to do is done at once', async () => {
  expect(await mapConcurrently([], 4, async () => 1)).toEqual([]);
});
