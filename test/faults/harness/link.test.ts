import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { kafkaApi, Link } from './link.ts';

/** Answers every frame with its correlation id. */
let server: Server;
let link: Link;
let client: Socket;
let received: number[];
let answered: number[];

function frame(api: number, correlation: number, body = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(14);
  header.writeInt32BE(10 + body.length, 0);
  header.writeInt16BE(api, 4);
  header.writeInt32BE(correlation, 8);
  header.writeInt16BE(-1, 12); // no client id
  return Buffer.concat([header, body]);
}

function endTxn(correlation: number, id: string, commits: boolean): Buffer {
  const text = Buffer.alloc(2);
  text.writeInt16BE(id.length, 0);
  const rest = Buffer.alloc(11);
  rest.writeInt8(commits ? 1 : 0, 10);
  return frame(kafkaApi.endTxn, correlation, Buffer.concat([text, Buffer.from(id), rest]));
}

/** Unlike `once`, an error before it is no rejection. */
const closing = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()));

async function until(done: () => boolean): Promise<void> {
  while (!done()) await delay(5);
}

beforeEach(async () => {
  received = [];
  answered = [];
  server = createServer((socket) => {
    let rest = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
        const correlation = rest.readInt32BE(8);
        received.push(correlation);
        rest = rest.subarray(4 + rest.readInt32BE(0));
        const answer = Buffer.alloc(8);
        answer.writeInt32BE(4, 0);
        answer.writeInt32BE(correlation, 4);
        socket.write(answer);
      }
    });
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  link = await Link.open({ port: (server.address() as AddressInfo).port, kafka: true });
  client = connect(link.port, '127.0.0.1');
  client.on('error', () => undefined);
  client.on('data', (bytes) => {
    for (let at = 0; at < bytes.length; at += 8) answered.push(bytes.readInt32BE(at + 4));
  });
  await once(client, 'connect');
});
afterEach(async () => {
  client.destroy();
  await link[Symbol.asyncDispose]();
  server.close();
});

test('frames pass whole, however they are cut', async () => {
  const bytes = Buffer.concat([frame(3, 1), frame(3, 2), frame(3, 3)]);
  for (const byte of bytes) client.write(Buffer.from([byte]));
  await until(() => answered.length === 3);
  expect(received).toEqual([1, 2, 3]);
  expect(answered).toEqual([1, 2, 3]);
});

test('a request that is held is overtaken by others, and its transaction is known', async () => {
  let release: (verdict: 'pass' | 'drop') => void = () => undefined;
  const seen: string[] = [];
  link.onRequest = ({ api, transactionalId, commits }) => {
    if (api !== kafkaApi.endTxn) return undefined;
    seen.push(`${transactionalId} ${commits}`);
    return new Promise((resolve) => {
      release = resolve;
    });
  };
  client.write(Buffer.concat([endTxn(1, 'millrace.x', true), frame(3, 2)]));
  await until(() => answered.length === 1);
  expect(received).toEqual([2]);
  release('pass');
  await until(() => answered.length === 2);
  expect(answered).toEqual([2, 1]);
  expect(seen).toEqual(['millrace.x true']);
});

test('an answer that is dropped never arrives, though the request did', async () => {
  link.onAnswer = ({ api }) => (api === kafkaApi.endTxn ? Promise.resolve('drop') : undefined);
  client.write(Buffer.concat([endTxn(1, 'a', false), frame(3, 2)]));
  await until(() => answered.length === 1);
  expect(received).toEqual([1, 2]);
  expect(answered).toEqual([2]);
});

test('a cut resets connections and refuses new ones until it is mended', async () => {
  const closed = closing(client);
  link.cut();
  await closed;
  const refused = connect(link.port, '127.0.0.1');
  refused.on('error', () => undefined);
  await closing(refused);
  link.mend();
  const again = connect(link.port, '127.0.0.1');
  again.write(frame(3, 7));
  await until(() => received.includes(7));
  again.destroy();
});
