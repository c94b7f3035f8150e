import { expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import type { OutRecord } from '../../log/log.ts';
import { encodeBatch } from './batch-encoder.ts';
import { crc32c } from './crc32c.ts';
import { decodeBatches } from './record-batch.ts';

const producer = { producerId: '7', producerEpoch: 1, firstSequence: 0 };

test('what is encoded is decoded to the same records: keys, values, timestamps and headers, null and empty ones too', async () => {
  const bytes = fc.option(
    fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)),
    { nil: null },
  );
  const header = fc.dictionary(
    fc.string({ minLength: 1, maxLength: 10 }),
    fc.uint8Array({ maxLength: 5 }).map((array) => Buffer.from(array)),
    { minKeys: 1, maxKeys: 3 },
  );
  const record = fc.record({
    key: bytes,
    value: bytes,
    timestamp: fc.bigInt({ min: 0n, max: 4_000_000_000_000n }),
    headers: fc.option(header, { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 200 }), async (given) => {
      const records = given.map(({ headers, ...rest }) => ({
        topic: 't',
        partition: 0,
        ...rest,
        ...(headers === undefined ? {} : { headers: Object.fromEntries(Object.entries(headers)) }),
      })) as OutRecord[];
      const { records: read, next } = decodeBatches(await encodeBatch(records, producer), 0n, []);
      expect(next).toBe(BigInt(records.length));
      expect(read.map(({ key, value, timestamp, headers }) => ({ key, value, timestamp, headers }))).toEqual(
        records.map(({ key, value, timestamp, headers }) => ({ key, value, timestamp, headers })),
      );
    }),
    { numRuns: 50 },
  );
});

test('the checksum is CRC-32C', () => {
  expect(crc32c(Buffer.from('123456789')).toString(16)).toBe('e3069283');
});
