import { createRequire } from 'node:module';
import { expect, jest, test } from '@jest/globals';
import './group-heartbeat.ts';

const ConsumerGroup = createRequire(import.meta.url)('kafkajs/src/consumer/consumerGroup') as new (
  options: object,
) => {
  memberId: string;
  coordinator: { heartbeat(payload: object): Promise<void> };
  heartbeat(options: { interval: number }): Promise<void>;
};

test('a member goes on sending heartbeats when the clock was set back, and no more often than it should', async () => {
  const cluster = { events: {} };
  const group = new ConsumerGroup({
    logger: { namespace: () => ({}) },
    cluster,
    instrumentationEmitter: { emit: () => undefined },
    assigners: [],
    topicConfigurations: {},
  });
  let beats = 0;
  group.memberId = 'me';
  group.coordinator = {
    async heartbeat() {
      beats++;
    },
  };
  const real = Date.now();
  const now = jest.spyOn(Date, 'now').mockReturnValue(real + 1_000);
  try {
    await group.heartbeat({ interval: 1_000 });
    expect(beats).toBe(1);
    now.mockReturnValue(real - 3_600_000);
    await group.heartbeat({ interval: 1_000 });
    expect(beats).toBe(2);
    now.mockReturnValue(real - 3_600_000 + 500);
    await group.heartbeat({ interval: 1_000 });
    expect(beats).toBe(2);
  } finally {
    now.mockRestore();
  }
});
