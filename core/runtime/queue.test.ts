import { expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import type { Fetched } from '../log/log.ts';
import { MERGE_SPAN_MS, Queue } from './queue.ts';

function portion(topic: string, from: number, timestamps: readonly number[]): Fetched {
  const records = timestamps.map((timestamp, i) => ({
    offset: BigInt(from + i),
    timestamp: BigInt(timestamp),
    key: null,
    value: null,
    headers: {},
  }));
  const next = BigInt(from + timestamps.length);
  return { topic, partition: 0, from: BigInt(from), next, records, end: next };
}

const told = ({ topic, from, next, records }: Fetched) =>
  `${topic} ${from}-${next}: ${records.map(({ timestamp }) => timestamp).join(' ')}`;

function drain(queue: Queue): Fetched[] {
  const all: Fetched[] = [];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) all.push(next);
  return all;
}

test('a portion of one input alone is taken whole', () => {
  const queue = new Queue();
  queue.push(portion('a', 0, [0, 1_000_000]));
  expect(drain(queue).map(told)).toEqual(['a 0-2: 0 1000000']);
});

test('a portion that spans hours is cut where it is a second past what another input has', () => {
  const queue = new Queue();
  queue.push(portion('a', 0, [0, 5_000, 6_000, 6_001, 90_000]));
  queue.push(portion('b', 7, [5_000, 7_100]));
  expect(queue.records('a')).toBe(5);
  expect(drain(queue).map(told)).toEqual([
    'a 0-3: 0 5000 6000',
    'b 7-8: 5000',
    'a 3-4: 6001',
    'b 8-9: 7100',
    'a 4-5: 90000',
  ]);
  expect([queue.records('a'), queue.empty]).toEqual([0, true]);
});

test('whatever the inputs hold, each comes whole and in order, and none runs ahead of another by more than the span', () => {
  const lane = fc.array(fc.array(fc.nat(4_000), { minLength: 1, maxLength: 5 }), { maxLength: 4 });
  fc.assert(
    fc.property(lane, lane, lane, (...lanes) => {
      const queue = new Queue();
      const sent = new Map<string, number[]>();
      for (const [at, portions] of lanes.entries()) {
        const [topic, times] = [`t${at}`, portions.flat().sort((a, b) => a - b)];
        sent.set(topic, times);
        let from = 0;
        for (const { length } of portions) {
          queue.push(portion(topic, from, times.slice(from, from + length)));
          from += length;
        }
      }
      const left = new Map([...sent].map(([topic, times]) => [topic, [...times]]));
      for (const { topic, from, next, records } of drain(queue)) {
        const mine = left.get(topic) ?? [];
        expect(from).toBe(BigInt((sent.get(topic)?.length ?? 0) - mine.length));
        expect(records.map(({ timestamp }) => Number(timestamp))).toEqual(mine.splice(0, records.length));
        expect(next).toBe(from + BigInt(records.length));
        for (const [other, [waiting]] of left) {
          if (other === topic || waiting === undefined) continue;
          expect(Number(records.at(-1)?.timestamp)).toBeLessThanOrEqual(waiting + Number(MERGE_SPAN_MS));
        }
      }
      expect([...left.values()].flat()).toEqual([]);
    }),
  );
});

test('what waits of each input is counted in bytes as fetched, also once a portion is cut', () => {
  const queue = new Queue();
  queue.push({ ...portion('a', 0, [0, 5_000]), bytes: 1_000 });
  queue.push({ ...portion('b', 0, [2_000]), bytes: 300 });
  expect([queue.bytes('a'), queue.bytes('b'), queue.bytes('c')]).toEqual([1_000, 300, 0]);
  queue.shift();
  expect([queue.bytes('a'), queue.bytes('b')]).toEqual([0, 300]);
  drain(queue);
  expect([queue.bytes('a'), queue.bytes('b')]).toEqual([0, 0]);
});
