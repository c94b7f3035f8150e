/** An HTTP proxy in front of a real object store: what becomes of each upload is said by whoever breaks it. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * `refuse`: answered with that status, and not passed on. `reset`: the connection is reset before anything is passed on. `slow`: passed on after that
 * many milliseconds. `lost`: passed on and done, and its answer never comes.
 */
export type Fate =
  | { readonly kind: 'pass' }
  | { readonly kind: 'refuse'; readonly status: number }
  | { readonly kind: 'reset' }
  | { readonly kind: 'slow'; readonly ms: number }
  | { readonly kind: 'lost' };

export const pass: Fate = { kind: 'pass' };

export class Front implements AsyncDisposable {
  /** Asked for each upload when all of it has come, and with `stored` when the store has answered. */
  onPut: (step: 'received' | 'stored') => Fate | Promise<Fate> = () => pass;
  readonly #server: Server;
  readonly #to: URL;

  private constructor(server: Server, to: string) {
    this.#server = server;
    this.#to = new URL(to);
    server.on('request', (from, answer) => {
      this.#serve(from, answer).catch(() => answer.destroy());
    });
  }

  /** @param to URL of the store */
  static async open(to: string): Promise<Front> {
    const server = createServer({ keepAliveTimeout: 60_000 });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Front(server, to);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #serve(from: IncomingMessage, answer: ServerResponse): Promise<void> {
    const body = await buffer(from);
    const upload = from.method === 'PUT';
    const fate = upload ? await this.onPut('received') : pass;
    if (fate.kind === 'reset') {
      from.socket.resetAndDestroy();
      return;
    }
    if (fate.kind === 'refuse') {
      answer.writeHead(fate.status, { 'content-type': 'application/xml' });
      answer.end('<Error><Code>InternalError</Code><Message>broken on purpose</Message></Error>');
      return;
    }
    if (fate.kind === 'slow') await delay(fate.ms);
    // The signature covers the host that was asked for, so headers stay as they are.
    const passed = request({
      host: this.#to.hostname,
      port: this.#to.port,
      method: from.method,
      path: from.url,
      headers: from.headers,
    });
    passed.end(body);
    const [response] = (await once(passed, 'response')) as [IncomingMessage];
    const content = await buffer(response);
    const after = upload ? await this.onPut('stored') : pass;
    if (fate.kind === 'lost' || after.kind !== 'pass') {
      from.socket.resetAndDestroy();
      return;
    }
    answer.writeHead(response.statusCode ?? 502, response.headers);
    answer.end(content);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
