/**
 * kafkajs keeps a timer per connection that, with nothing to send, runs every millisecond for ever (its delay is negative, which
 * Node 24 warns of). It is needed only while requests wait; imported for its effect by whatever opens a connection.
 */
import { createRequire } from 'node:module';

interface RequestQueue {
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests(): void;
}

const require = createRequire(import.meta.url);
const { prototype } = require('kafkajs/src/network/requestQueue') as { prototype: RequestQueue };
const schedule = prototype.scheduleCheckPendingRequests;

prototype.scheduleCheckPendingRequests = function scheduleWhenPending(this: RequestQueue): void {
  // Whoever adds a request that must wait calls this again, so nothing is forgotten.
  if (this.pending.length > 0) schedule.call(this);
};
