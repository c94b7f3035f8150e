import { expect, test } from '@jest/globals';
import { MillraceError } from '../../base/errors.ts';
import { type Broker, type Cluster, createErrorFromCode } from '../connection/internals.ts';
import { Topology } from '../connection/topology.ts';
import { KafkaWriter } from './writer.ts';

const record = { topic: 't', partition: 0, key: null, value: Buffer.from('1'), timestamp: 1n };
const missing = new MillraceError('TOPIC_MISSING', 'topic t does not exist');

/** A writer whose requests are answered, but for one that fails. `known` is what the metadata say of the topic afterwards. */
async function failing(at: 'addPartitionsToTxn' | 'produce', error: Error, known?: Error) {
  const ended: boolean[] = [];
  const doubted: string[] = [];
  const broker = {
    nodeId: 1,
    connectionPool: {
      send: async () => {
        if (at === 'produce') throw error;
        return { topics: [] };
      },
    },
    initProducerId: async () => ({ producerId: '1', producerEpoch: 0 }),
    addPartitionsToTxn: async () => {
      if (at === 'addPartitionsToTxn') throw error;
    },
    endTxn: async ({ transactionResult }: { transactionResult: boolean }) => ended.push(transactionResult),
  } as unknown as Broker;
  const cluster = { findBroker: async () => broker } as unknown as Cluster;
  const topology = Object.assign(new Topology(cluster), {
    coordinator: async () => broker,
    ask: async () => undefined,
    leader: async () => 1,
    leaders: async () => {
      if (known !== undefined) throw known;
      return [1];
    },
    doubt: (topics: Iterable<string>) => {
      doubted.push(...topics);
    },
  });
  const writer = await KafkaWriter.open(topology, 'w');
  const thrown: unknown = await writer.transact({ records: [record] }).catch((reason: unknown) => reason);
  return { thrown, ended, doubted };
}

test.each(['addPartitionsToTxn', 'produce'] as const)(
  'a topic that a broker does not know at %s, and the metadata know, is written again',
  async (at) => {
    const { thrown, ended, doubted } = await failing(at, createErrorFromCode(3));
    expect(thrown).toMatchObject({ code: 'TRANSACTION_ABORTED', disposition: 'retry' });
    expect([ended, doubted]).toEqual([[false], ['t']]);
  },
);

test.each(['addPartitionsToTxn', 'produce'] as const)('a topic that is gone at %s stops its writer', async (at) => {
  const { thrown } = await failing(at, createErrorFromCode(3), missing);
  expect(thrown).toMatchObject({ code: 'TOPIC_MISSING', disposition: 'stop' });
});

test('a permission that is missing stops the writer and names what it wrote to', async () => {
  const { thrown, ended } = await failing('produce', createErrorFromCode(29));
  expect(thrown).toMatchObject({
    code: 'KAFKA_FORBIDDEN',
    disposition: 'stop',
    message: expect.stringContaining('writing to t as w'),
    remedy: expect.stringContaining('Write'),
  });
  expect(ended).toEqual([false]);
});

test.each([6, 56, 74])(
  'error %i of a leader aborts the transaction, and its leader is asked for again',
  async (code) => {
    const { thrown, doubted } = await failing('produce', createErrorFromCode(code));
    expect([(thrown as MillraceError).code, doubted]).toEqual(['TRANSACTION_ABORTED', ['t']]);
  },
);

test('a defect of ours stops the writer', async () => {
  const { thrown } = await failing('produce', new TypeError('x is not a function'));
  expect(thrown).toMatchObject({ code: 'DEFECT', disposition: 'stop' });
});
