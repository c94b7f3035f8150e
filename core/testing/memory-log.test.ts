import { testLog } from '../../test/contracts/log-contract.ts';
import { MemoryLog } from './memory-log.ts';

testLog('the log in memory', async () => {
  const log = new MemoryLog();
  let topics = 0;
  return {
    log,
    topic: async (partitions) => {
      const name = `topic-${topics++}`;
      log.create(name, partitions);
      return name;
    },
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
  };
});
