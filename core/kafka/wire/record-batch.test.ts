import { gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { crc32c } from './crc32c.ts';
import { damagedRecord, decodeBatches, maxBatchBytes, scanBatches } from './record-batch.ts';

interface Batch {
  readonly base: bigint;
  /** Values by offset delta: compaction leaves gaps. */
  readonly values: ReadonlyMap<number, string | null>;
  readonly lastDelta?: number;
  readonly producerId?: bigint;
  readonly control?: 'commit' | 'abort';
  readonly codec?: 0 | 1 | 2 | 4;
  readonly timestamp?: bigint;
  /** LogAppendTime of the batch, milliseconds. */
  readonly appended?: bigint;
}

function varint(value: number): Buffer {
  let zigzag = BigInt(value) >= 0n ? BigInt(value) * 2n : -BigInt(value) * 2n - 1n;
  const bytes: number[] = [];
  while (zigzag > 127n) {
    bytes.push(Number(zigzag & 127n) | 128);
    zigzag >>= 7n;
  }
  return Buffer.from([...bytes, Number(zigzag)]);
}

function bytes(value: Buffer | null): Buffer {
  return value === null ? varint(-1) : Buffer.concat([varint(value.length), value]);
}

function encode(batch: Batch): Buffer {
  const control = batch.control;
  const entries: [number, Buffer | null, Buffer | null][] =
    control === undefined
      ? [...batch.values].map(([delta, value]) => [delta, Buffer.from('k'), value === null ? null : Buffer.from(value)])
      : [[0, Buffer.from([0, 0, 0, control === 'commit' ? 1 : 0]), Buffer.from([0, 0, 0, 0, 0, 0])]];
  const records = Buffer.concat(
    entries.map(([delta, key, value]) => {
      const body = Buffer.concat([Buffer.of(0), varint(delta * 3), varint(delta), bytes(key), bytes(value), varint(0)]);
      return Buffer.concat([varint(body.length), body]);
    }),
  );
  const codec = batch.codec ?? 0;
  const body = codec === 1 ? gzipSync(records) : codec === 4 ? zstdCompressSync(records) : records;
  const header = Buffer.alloc(61);
  header.writeBigInt64BE(batch.base, 0);
  header[16] = 2;
  const flags =
    (batch.appended === undefined ? 0 : 0x08) |
    (batch.producerId === undefined ? 0 : 0x10) |
    (control === undefined ? 0 : 0x20);
  header.writeInt16BE(codec | flags, 21);
  header.writeInt32BE(batch.lastDelta ?? Math.max(0, ...entries.map(([delta]) => delta)), 23);
  header.writeBigInt64BE(batch.timestamp ?? 1_000n, 27);
  header.writeBigInt64BE(batch.appended ?? (batch.timestamp ?? 1_000n) + 3n, 35);
  header.writeBigInt64BE(batch.producerId ?? -1n, 43);
  header.writeInt32BE(entries.length, 57);
  return seal(Buffer.concat([header, body]));
}

/** Makes length and checksum of a batch those of its content. */
function seal(batch: Buffer): Buffer {
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  return batch;
}

const data = (base: bigint, values: string[], more: Partial<Batch> = {}): Batch => ({
  base,
  values: new Map(values.map((value, i) => [i, value])),
  ...more,
});
const marker = (base: bigint, producerId: bigint, control: 'commit' | 'abort'): Batch => ({
  base,
  values: new Map(),
  producerId,
  control,
});
const read = (batches: readonly Batch[], from = 0n, aborted: { producerId: bigint; firstOffset: bigint }[] = []) => {
  const { records, next } = decodeBatches(Buffer.concat(batches.map(encode)), from, aborted);
  return { values: records.map(({ offset, value }) => [offset, value?.toString() ?? null]), next };
};

test.each([0, 1, 4] as const)('records of codec %i come with their offsets, keys, values and timestamps', (codec) => {
  const { records, next } = decodeBatches(
    encode(data(7n, ['a', 'b'], { codec, timestamp: 1_700_000_000_000n })),
    0n,
    [],
  );
  expect(records.map(({ offset, timestamp, key, value }) => [offset, timestamp, `${key}`, `${value}`])).toEqual([
    [7n, 1_700_000_000_000n, 'k', 'a'],
    [8n, 1_700_000_000_003n, 'k', 'b'],
  ]);
  expect(next).toBe(9n);
});

test('records before the position are dropped, although their batch is returned whole', () => {
  expect(read([data(0n, ['a', 'b', 'c'])], 2n)).toEqual({ values: [[2n, 'c']], next: 3n });
});

test('the next position passes control records and gaps that compaction left', () => {
  const compacted: Batch = { base: 10n, values: new Map([[2, 'kept']]), lastDelta: 9 };
  expect(read([compacted, marker(20n, 5n, 'commit')], 10n)).toEqual({ values: [[12n, 'kept']], next: 21n });
});

test('a batch that the response cuts off is left for the next fetch', () => {
  const whole = encode(data(0n, ['a']));
  const cut = encode(data(1n, ['b'])).subarray(0, 66);
  expect(decodeBatches(Buffer.concat([whole, cut]), 0n, []).next).toBe(1n);
});

test('aborted transactions of two producers that overlap are filtered exactly', () => {
  const batches = [
    data(0n, ['1 aborted'], { producerId: 1n }),
    data(1n, ['2 aborted'], { producerId: 2n }),
    data(2n, ['plain']),
    marker(3n, 1n, 'abort'),
    data(4n, ['1 committed'], { producerId: 1n }),
    data(5n, ['2 still aborted'], { producerId: 2n }),
    marker(6n, 2n, 'abort'),
    data(7n, ['2 committed'], { producerId: 2n }),
  ];
  const aborted = [
    { producerId: 2n, firstOffset: 1n },
    { producerId: 1n, firstOffset: 0n },
  ];
  expect(read(batches, 0n, aborted).values).toEqual([
    [2n, 'plain'],
    [4n, '1 committed'],
    [7n, '2 committed'],
  ]);
});

test('a fetch that starts inside two aborted transactions drops both', () => {
  const batches = [
    data(4n, ['1'], { producerId: 1n }),
    data(5n, ['2'], { producerId: 2n }),
    marker(6n, 1n, 'abort'),
    marker(7n, 2n, 'abort'),
  ];
  const aborted = [
    { producerId: 1n, firstOffset: 0n },
    { producerId: 2n, firstOffset: 1n },
  ];
  expect(read(batches, 4n, aborted)).toEqual({ values: [], next: 8n });
});

test('a data record whose key looks like an abort marker ends no transaction', () => {
  const batch = encode(data(0n, ['x'], { producerId: 1n }));
  const record = Buffer.from([0x16, 0, 0, 0, 8, 0, 0, 0, 0, 2, 0x78, 0]);
  const lookalike = seal(Buffer.concat([batch.subarray(0, 61), record]));
  const batches = Buffer.concat([
    lookalike,
    encode(data(1n, ['aborted'], { producerId: 1n })),
    encode(marker(2n, 1n, 'abort')),
  ]);
  expect(decodeBatches(batches, 0n, [{ producerId: 1n, firstOffset: 0n }]).records).toEqual([]);
});

test('a batch that expands beyond the limit becomes one unreadable record, and the position moves past it', () => {
  const bomb = encode(data(3n, ['a', Buffer.alloc(maxBatchBytes + 1).toString('latin1')], { codec: 1 }));
  const { records, next } = decodeBatches(bomb, 0n, []);
  expect(records).toHaveLength(1);
  expect(records[0]).toMatchObject({
    offset: 3n,
    key: null,
    value: null,
    unreadable: { code: 'TOO_LARGE', disposition: 'deadLetter' },
  });
  expect(next).toBe(5n);
});

test('a batch that ends inside a record becomes one unreadable record, and the position moves past it', () => {
  const batch = encode(data(3n, ['first', 'second']));
  const cut = seal(batch.subarray(0, batch.length - 4));
  const { records, next } = decodeBatches(Buffer.concat([cut, encode(data(5n, ['next']))]), 0n, []);
  expect(records.map(({ offset, unreadable }) => [offset, unreadable?.code])).toEqual([
    [3n, 'BAD_RECORD'],
    [5n, undefined],
  ]);
  expect(next).toBe(6n);
});

test('what is scanned is not read before it is asked for, and its size is known', () => {
  const bomb = encode(data(0n, ['a', Buffer.alloc(maxBatchBytes + 1).toString('latin1')], { codec: 1 }));
  const { size, next, read } = scanBatches(Buffer.concat([bomb, encode(data(2n, ['b', 'c', 'd']))]), 0n, []);
  expect([size, next]).toEqual([5, 5n]);
  expect(read()).toHaveLength(4);
});

test('batches that begin where the wanted range ends are not read, and the next position passes them', () => {
  const bomb = encode(data(4n, ['d', Buffer.alloc(maxBatchBytes + 1).toString('latin1')], { codec: 1 }));
  const batches = Buffer.concat([encode(data(0n, ['a', 'b'])), encode(data(2n, ['c', 'd'])), bomb]);
  const { size, next, read } = scanBatches(batches, 1n, [], { to: 3n });
  expect([size, next]).toEqual([4, 6n]);
  expect(read().map(({ offset }) => offset)).toEqual([1n, 2n, 3n]);
});

test('records with the same headers and with others each have their own', () => {
  const withHeader = (value: string, i: number) => {
    const record = Buffer.from([0, 0, 0, 1, 1, 2, 2, 0x68, value.length * 2, ...Buffer.from(value)]);
    const header = encode(data(BigInt(i), ['a'])).subarray(0, 61);
    return seal(Buffer.concat([header, Buffer.of(record.length * 2), record]));
  };
  const batches = ['one', 'one', 'two', 'three', 'one'].map(withHeader);
  const { records } = decodeBatches(Buffer.concat(batches), 0n, []);
  expect(records.map(({ headers }) => `${headers?.['h']}`)).toEqual(['one', 'one', 'two', 'three', 'one']);
});

test('a header may have any name', () => {
  const record = Buffer.from([0, 0, 0, 1, 1, 2, 18, ...Buffer.from('__proto__'), 2, 0x78]);
  const body = Buffer.concat([Buffer.of(record.length * 2), record]);
  const batch = seal(Buffer.concat([encode(data(0n, ['a'])).subarray(0, 61), body]));
  const headers = decodeBatches(batch, 0n, []).records[0]?.headers ?? {};
  expect(Object.entries(headers)).toEqual([['__proto__', Buffer.from('x')]]);
});

test('a codec that is not supported is named', () => {
  const [record] = decodeBatches(encode(data(0n, ['a'], { codec: 2 })), 0n, []).records;
  expect(record?.unreadable?.message).toContain('snappy');
});

test('records of a topic whose broker sets the time (LogAppendTime) all have the time of their batch', () => {
  const { records } = decodeBatches(encode(data(0n, ['a', 'b'], { appended: 5_000n })), 0n, []);
  expect(records.map(({ timestamp }) => timestamp)).toEqual([5_000n, 5_000n]);
});

test('varints are exact over the whole range of 32-bit deltas', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (delta) => {
      const [record] = decodeBatches(encode({ base: 0n, values: new Map([[delta, 'x']]) }), 0n, []).records;
      expect([record?.offset, record?.timestamp]).toEqual([BigInt(delta), 1_000n + BigInt(delta) * 3n]);
    }),
  );
});

test('a batch whose bytes are not those of its checksum is not read, and its end is known', () => {
  const batches = Buffer.concat([encode(data(0n, ['first'])), encode(data(1n, ['price=100.00', 'b']))]);
  batches[batches.indexOf('100.00')] = 0x39;
  const { records, next, damage } = decodeBatches(batches, 0n, [], { end: 3n });
  expect(records.map(({ value }) => `${value}`)).toEqual(['first']);
  expect([next, damage?.offset, damage?.end]).toEqual([1n, 1n, 3n]);
  expect(damage && damagedRecord(damage)).toMatchObject({
    offset: 1n,
    timestamp: 1_000n,
    unreadable: { code: 'BAD_RECORD', disposition: 'deadLetter' },
  });
});

test.each([-12, -1, 0, 48, 2 ** 31 - 1])('a batch whose length is %i ends the scan', (length) => {
  const batch = encode(data(0n, ['a']));
  batch.writeInt32BE(length, 8);
  expect(decodeBatches(batch, 0n, []).damage).toBeDefined();
});

test.each([0, 1, 3])('a batch of format %i is not read', (format) => {
  const batch = encode(data(0n, ['a']));
  batch[16] = format;
  expect(decodeBatches(batch, 0n, [])).toMatchObject({ records: [], next: 0n, damage: { end: 1n } });
});

test.each<[string, (batch: Buffer) => void]>([
  ['more records than it says', (batch) => batch.writeInt32BE(1, 57)],
  ['fewer records than it says', (batch) => batch.writeInt32BE(3, 57)],
  ['a negative number of records', (batch) => batch.writeInt32BE(-1, 57)],
  ['an offset beyond its last one', (batch) => batch.writeInt32BE(0, 23)],
])('a batch with a right checksum and %s becomes one unreadable record', (_, change) => {
  const batch = encode(data(0n, ['a', 'b']));
  change(batch);
  expect(decodeBatches(seal(batch), 0n, []).records).toMatchObject([
    { offset: 0n, unreadable: { code: 'BAD_RECORD' } },
  ]);
});

/** Reads as a fetcher does, from a broker whose index is sound, until the end or a stop. */
function readThrough(stored: Buffer, starts: readonly [at: number, last: bigint][], end: bigint) {
  const read = new Map<bigint, string>();
  const dead: [bigint, bigint][] = [];
  let position = 0n;
  for (let fetches = 0; position < end; fetches++) {
    if (fetches > 50) throw new Error('it does not end');
    const first = starts.find(([, last]) => last >= position);
    const set = stored.subarray(first?.[0]);
    // A broker names the aborted transactions whose markers are not before the position.
    const aborted = position <= 6n ? [{ producerId: 7n, firstOffset: 4n }] : [];
    const { records, next, damage } = decodeBatches(set, position, aborted, { end });
    for (const { offset, value } of records) read.set(offset, `${value}`);
    if (next > position) position = next;
    else if (damage?.end !== undefined) {
      dead.push([position, damage.end]);
      position = damage.end;
    } else return { read, dead, stopped: position };
  }
  return { read, dead, stopped: undefined };
}

test('damage of any one to four bytes never makes a wrong record, never loses one without a word, and never hangs', () => {
  const batches = [
    data(0n, ['a', 'b'], { codec: 4 }),
    data(2n, ['price=100.00', 'd'], { timestamp: 1_700_000_000_000n }),
    data(4n, ['aborted', 'aborted'], { producerId: 7n }),
    marker(6n, 7n, 'abort'),
    data(7n, ['committed'], { producerId: 7n, codec: 1 }),
    marker(8n, 7n, 'commit'),
    data(9n, ['y', 'z', '!']),
  ];
  const encoded = batches.map(encode);
  const starts: [number, bigint][] = [];
  let at = 0;
  for (const batch of encoded) {
    starts.push([at, batch.readBigInt64BE(0) + BigInt(batch.readInt32BE(23))]);
    at += batch.length;
  }
  const stored = Buffer.concat(encoded);
  const { read: sound } = readThrough(stored, starts, 12n);
  expect([...sound.values()].join(' ')).toBe('a b price=100.00 d committed y z !');
  fc.assert(
    fc.property(
      fc.nat({ max: stored.length - 1 }),
      fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 4 }),
      (place, masks) => {
        const damaged = Buffer.from(stored);
        for (const [i, mask] of masks.entries()) {
          if (place + i < damaged.length) damaged[place + i] = (damaged[place + i] as number) ^ mask;
        }
        const { read, dead, stopped = 12n } = readThrough(damaged, starts, 12n);
        const wrong = [...read].filter(([offset, value]) => value !== sound.get(offset));
        const told = (offset: bigint) => offset >= stopped || dead.some(([from, to]) => offset >= from && offset < to);
        const lost = [...sound.keys()].filter((offset) => !read.has(offset) && !told(offset));
        expect({ wrong, lost }).toEqual({ wrong: [], lost: [] });
      },
    ),
    { numRuns: 1_000 },
  );
});
