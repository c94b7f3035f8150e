import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { testLog } from '../../contracts/log-contract.ts';
import { testConfig } from '../../support/stack.ts';

const { brokers } = testConfig().kafka;
let topics = 0;
testLog('Kafka', async () => {
  const log = new KafkaLog({ brokers, clientId: 'contract' });
  const admin = await TopicAdmin.open({ brokers, clientId: 'contract-admin' });
  return {
    log,
    topic: async (partitions) => {
      const name = `contract.${process.pid}.${Date.now()}.${topics++}`;
      await admin.create([{ name, partitions, settings: {} }]);
      return name;
    },
    [Symbol.asyncDispose]: async () => {
      await log[Symbol.asyncDispose]();
      await admin[Symbol.asyncDispose]();
    },
  };
});
