/**
 * Preloaded into a Millrace process (`node --import`): connections to one port go to another, where a proxy listens. A broker tells its clients
 * its own address, so that an address in the configuration would be used once only.
 */
import { Socket } from 'node:net';

const [from, to] = (process.env['FAULTS_REDIRECT'] ?? '').split(':').map(Number);
const original = Socket.prototype.connect as (this: Socket, ...args: unknown[]) => Socket;

Socket.prototype.connect = function connect(this: Socket, ...args: unknown[]): Socket {
  // Node passes its own normalised list of [options, callback], or what the caller gave.
  const [first] = args;
  const options: unknown = Array.isArray(first) ? first[0] : first;
  if (typeof options === 'object' && options !== null && 'port' in options && Number(options.port) === from) {
    options.port = to;
  }
  return original.apply(this, args);
};
