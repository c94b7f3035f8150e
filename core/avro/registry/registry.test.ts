import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Registry } from './registry.ts';

type Answer = (path: string, response: ServerResponse, asked: number) => void;

const open: Server[] = [];

/** A server in place of the registry, for the answers that a real one cannot be made to give. */
async function registryAnswering(answer: Answer, options: { timeoutMs?: number; attempts?: number } = {}) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    answer(request.url ?? '', response, asked.length);
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { registry: new Registry({ url, ...options }), asked };
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

const schema = { type: 'record', name: 'A', namespace: 'n', fields: [] };

afterEach(() => {
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

describe('schemas by id', () => {
  test('a schema is asked for once', async () => {
    const { registry, asked } = await registryAnswering((_, response) =>
      json(response, 200, { schema: JSON.stringify(schema) }),
    );
    expect(await registry.byId(7)).toEqual(schema);
    expect(await registry.byId(7)).toEqual(schema);
    expect(asked).toEqual(['GET /apis/ccompat/v7/schemas/ids/7']);
  });

  test('only the registry itself can say that a schema is unknown', async () => {
    const { registry } = await registryAnswering((_, response) =>
      json(response, 404, { error_code: 40403, message: 'Schema 7 not found.' }),
    );
    await expect(registry.byId(7)).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN', disposition: 'deadLetter' });
    const wrongPath = await registryAnswering(
      (_, response) => json(response, 404, { status: 404, title: 'no such path' }),
      {
        attempts: 1,
      },
    );
    await expect(wrongPath.registry.byId(7)).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      disposition: 'retry',
    });
  });

  test('a schema of another format is no schema of ours', async () => {
    const { registry } = await registryAnswering((_, response) =>
      json(response, 200, { schemaType: 'PROTOBUF', schema: 'syntax = "proto3";' }),
    );
    await expect(registry.byId(7)).rejects.toMatchObject({ code: 'SCHEMA_FOREIGN' });
  });

  test('server errors and pages that are not JSON are tried again', async () => {
    const { registry, asked } = await registryAnswering((_, response, count) => {
      if (count === 1) response.writeHead(503).end('starting');
      else if (count === 2) response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
      else json(response, 200, { schema: JSON.stringify(schema) });
    });
    expect(await registry.byId(7)).toEqual(schema);
    expect(asked).toHaveLength(3);
  });

  test('a registry that accepts and never answers is unreachable after the timeout', async () => {
    const { registry } = await registryAnswering(() => {}, { timeoutMs: 50, attempts: 2 });
    await expect(registry.byId(7)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE', disposition: 'retry' });
    await expect(registry.register('s', schema)).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      message: expect.stringContaining('no answer in 50 ms'),
    });
  });

  test('closing ends what waits', async () => {
    const { registry } = await registryAnswering(() => {}, { timeoutMs: 60_000 });
    const waiting = registry.byId(7);
    await registry[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await expect(waiting).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' });
  });
});

describe('registration', () => {
  test('a refused connection is unreachable, and says so', async () => {
    const { registry } = await registryAnswering(() => {}, { attempts: 1 });
    await new Promise((resolve) => open.splice(0)[0]?.close(resolve));
    await expect(registry.register('s', schema)).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      message: expect.stringContaining('ECONNREFUSED'),
      remedy: expect.stringContaining('millrace up'),
    });
  });

  test('an incompatible schema is refused for good', async () => {
    const { registry, asked } = await registryAnswering((path, response) =>
      path.includes('/config/')
        ? json(response, 200, { compatibilityLevel: 'BACKWARD' })
        : json(response, 409, { error_code: 409, message: 'Incompatible artifact: s' }),
    );
    await expect(registry.register('s', schema)).rejects.toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      disposition: 'stop',
      message: expect.stringContaining('Incompatible artifact: s'),
    });
    expect(asked).toHaveLength(2);
  });

  test('being told that another has just set the level of the same new subject is no refusal', async () => {
    let isSet = false;
    const { registry } = await registryAnswering((path, response) => {
      if (!path.includes('/config/')) return json(response, 200, { id: 3 });
      if (isSet) return json(response, 200, { compatibilityLevel: 'BACKWARD' });
      if (path.length > 0 && response.req.method === 'GET')
        return json(response, 404, { error_code: 40401, message: 'no' });
      isSet = true;
      return json(response, 409, { message: "A rule named 'COMPATIBILITY' already exists." });
    });
    expect(await registry.register('s', schema)).toBe(3);
  });
});
