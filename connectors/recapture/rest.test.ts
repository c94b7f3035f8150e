import { expect, test } from '@jest/globals';
import type { ConnectClient } from '../client.ts';
import { bringToRest } from './rest.ts';

test('a connector that was deleted a moment ago is created, though Kafka Connect still has its status', async () => {
  const calls: string[] = [];
  const called = (name: string, answer?: unknown) => async () => {
    calls.push(name);
    return answer;
  };
  const client = {
    config: called('config'),
    status: called('status', { name: 'x', state: 'STOPPED', tasks: [] }),
    createStopped: called('createStopped'),
    stop: called('stop'),
    fence: called('fence'),
  } as unknown as ConnectClient;
  await bringToRest({ client, definition: { name: 'x', config: {} } });
  expect(calls).toEqual(['config', 'createStopped', 'stop', 'fence']);
});
