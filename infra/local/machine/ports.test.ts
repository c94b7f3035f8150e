import { createServer, type Server } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { answersTcp, freePorts, holderOf, isFree } from './ports.ts';

async function listening(host: string): Promise<{ port: number } & AsyncDisposable> {
  const server: Server = createServer();
  await new Promise<void>((done) => server.listen(0, host, done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    [Symbol.asyncDispose]: () => new Promise<void>((done) => server.close(() => done())),
  };
}

describe('a port', () => {
  test.each(['127.0.0.1', '0.0.0.0'])('that somebody has on %s is not free, and its holder is named', async (host) => {
    await using taken = await listening(host);
    expect(await isFree(taken.port)).toBe(false);
    expect(await holderOf(taken.port)).toMatch(new RegExp(`^pid ${process.pid} \\(.+\\)$`));
    await answersTcp(taken.port);
  });

  test('without a holder is free and does not answer', async () => {
    const { port } = await (async () => {
      await using short = await listening('127.0.0.1');
      return { port: short.port };
    })();
    expect(await isFree(port)).toBe(true);
    expect(await holderOf(port)).toBeUndefined();
    await expect(answersTcp(port)).rejects.toThrow('ECONNREFUSED');
  });

  test('chosen for a stack is free, chosen once, and out of the range of outgoing connections', async () => {
    // The random source repeats a number, so the second port must be drawn again.
    const draws = [0.5, 0.5, 0.7];
    const ports = await freePorts(2, () => draws.shift() ?? Math.random());
    expect(new Set(ports).size).toBe(2);
    for (const port of ports) {
      expect(port).toBeLessThan(32_768);
      expect(await isFree(port)).toBe(true);
    }
  });

  test('that is taken is not chosen', async () => {
    const [first = 0] = await freePorts(1, () => 0.25);
    const server = createServer();
    await new Promise<void>((done) => server.listen(first, '127.0.0.1', done));
    try {
      const draws = [0.25];
      expect(await freePorts(1, () => draws.shift() ?? Math.random())).not.toContain(first);
    } finally {
      await new Promise<void>((done) => server.close(() => done()));
    }
  });
});
