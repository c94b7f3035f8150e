/**
 * kafkajs sends a group's heartbeat when the wall clock says that the last one is old enough. A clock that is set back by an hour would silence
 * it for an hour, the member would lose its partitions without knowing and contend for them with their new owner. Imported for its effect.
 */
import { createRequire } from 'node:module';

interface ConsumerGroup {
  lastRequest: number;
  heartbeat(options: { interval: number }): Promise<void>;
}

const require = createRequire(import.meta.url);
const { prototype } = require('kafkajs/src/consumer/consumerGroup') as { prototype: ConsumerGroup };
const heartbeat = prototype.heartbeat;

prototype.heartbeat = function heartbeatWhateverTheClock(this: ConsumerGroup, options): Promise<void> {
  if (this.lastRequest > Date.now()) this.lastRequest = 0;
  return heartbeat.call(this, options);
};
