/** A TCP proxy in front of a real part: it cuts, holds and delays, and understands Kafka's frames well enough to do so at a chosen request. */

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A request of Kafka's protocol, by its header. */
export interface KafkaRequest {
  /** Kafka's number of the request: see `kafkaApi`. */
  readonly api: number;
  /** Of transactional requests; otherwise empty. */
  readonly transactionalId: string;
  /** Of EndTxn: whether it commits. */
  readonly commits: boolean;
}

export const kafkaApi = {
  produce: 0,
  addPartitionsToTxn: 24,
  addOffsetsToTxn: 25,
  endTxn: 26,
  txnOffsetCommit: 28,
} as const;

/** What is done with a frame once the promise resolves. Others on the connection overtake it meanwhile. */
export type Hold = Promise<'pass' | 'drop'> | undefined;

export interface LinkOptions {
  readonly host?: string;
  readonly port: number;
  /** The other side speaks Kafka's protocol: frames are passed one by one, and the hooks are asked. */
  readonly kafka?: boolean;
}

export class Link implements AsyncDisposable {
  /** Asked for each request before it is passed on; and with the same request before its answer is. */
  onRequest: (request: KafkaRequest) => Hold = () => undefined;
  onAnswer: (request: KafkaRequest) => Hold = () => undefined;
  readonly #server: Server;
  readonly #options: LinkOptions;
  readonly #sockets = new Set<Socket>();
  #cut = false;
  #frozen = false;

  private constructor(server: Server, options: LinkOptions) {
    this.#server = server;
    this.#options = options;
    server.on('connection', (near) => this.#join(near));
  }

  static async open(options: LinkOptions): Promise<Link> {
    const server = createServer({ allowHalfOpen: false });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Link(server, options);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Resets every connection and refuses new ones, until `mend`. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Connections stay, and nothing passes in either direction, until `mend`. */
  freeze(): void {
    this.#frozen = true;
    for (const socket of this.#sockets) socket.pause();
  }

  mend(): void {
    this.#cut = false;
    this.#frozen = false;
    for (const socket of this.#sockets) socket.resume();
  }

  #join(near: Socket): void {
    if (this.#cut) {
      near.resetAndDestroy();
      return;
    }
    const far = connect({ host: this.#options.host ?? '127.0.0.1', port: this.#options.port, noDelay: true });
    near.setNoDelay(true);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one);
      if (this.#frozen) one.pause();
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
    if (this.#options.kafka !== true) {
      near.on('data', (bytes) => far.write(bytes));
      far.on('data', (bytes) => near.write(bytes));
      return;
    }
    const asked = new Map<number, KafkaRequest>();
    near.on(
      'data',
      frames((frame) => {
        const request = headerOf(frame);
        asked.set(frame.readInt32BE(8), request);
        pass(frame, far, this.onRequest(request));
      }),
    );
    far.on(
      'data',
      frames((frame) => {
        const correlation = frame.readInt32BE(4);
        const request = asked.get(correlation);
        asked.delete(correlation);
        pass(frame, near, request === undefined ? undefined : this.onAnswer(request));
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
  }
}

function pass(frame: Buffer, to: Socket, hold: Hold): void {
  const send = (verdict: 'pass' | 'drop'): void => {
    if (verdict === 'pass' && to.writable) to.write(frame);
  };
  if (hold === undefined) send('pass');
  else hold.then(send, () => send('drop'));
}

/** Cuts a stream into frames: four bytes of length, then so many. */
function frames(take: (frame: Buffer) => void): (bytes: Buffer) => void {
  let rest: Buffer[] = [];
  let length = 0;
  return (bytes) => {
    rest.push(bytes);
    length += bytes.length;
    if (length < 4) return;
    let buffer = rest.length === 1 ? bytes : Buffer.concat(rest, length);
    while (buffer.length >= 4 && buffer.length >= 4 + buffer.readInt32BE(0)) {
      const end = 4 + buffer.readInt32BE(0);
      take(buffer.subarray(0, end));
      buffer = buffer.subarray(end);
    }
    rest = buffer.length === 0 ? [] : [buffer];
    length = buffer.length;
  };
}

const transactional: ReadonlySet<number> = new Set([
  kafkaApi.addPartitionsToTxn,
  kafkaApi.addOffsetsToTxn,
  kafkaApi.endTxn,
  kafkaApi.txnOffsetCommit,
]);

/** Header: length, api, version, correlation id, client id; each transactional request then begins with the transactional id. */
function headerOf(frame: Buffer): KafkaRequest {
  const api = frame.readInt16BE(4);
  if (!transactional.has(api) && api !== kafkaApi.produce) return { api, transactionalId: '', commits: false };
  let at = 12;
  const text = (): string => {
    const size = frame.readInt16BE(at);
    at += 2;
    const value = size < 0 ? '' : frame.toString('utf8', at, at + size);
    at += Math.max(0, size);
    return value;
  };
  text(); // client id
  const transactionalId = text();
  return { api, transactionalId, commits: api === kafkaApi.endTxn && frame.readInt8(at + 10) === 1 };
}
