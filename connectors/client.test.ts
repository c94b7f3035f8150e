import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { applyConnector } from './apply.ts';
import { ConnectClient } from './client.ts';

interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

let server: Server;
let url: string;
/** Responses by request line, in order; the last one repeats. A request line without responses is never answered. */
let answers: Record<string, Answer[]>;
let asked: string[];
/** Request bodies. */
let sent: unknown[];

beforeEach(async () => {
  answers = {};
  asked = [];
  sent = [];
  server = createServer(async (request, response) => {
    const body = await text(request);
    if (body !== '') sent.push(JSON.parse(body));
    const line = `${request.method} ${request.url}`;
    asked.push(line);
    const queue = answers[line];
    if (queue === undefined) return;
    const answer = (queue.length > 1 ? queue.shift() : queue[0]) ?? { status: 500 };
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(answer.body === undefined ? '' : JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

describe('a request', () => {
  test('is repeated while the workers rebalance', async () => {
    answers['GET /connectors'] = [
      { status: 409, body: { message: 'rebalance' } },
      { status: 409 },
      { status: 500, body: { message: 'Request cannot be completed because a rebalance is expected' } },
      { status: 200, body: ['a'] },
    ];
    expect(await new ConnectClient({ url, random: () => 0 }).names()).toEqual(['a']);
    expect(asked).toHaveLength(4);
  });

  test('gives up when the rebalance does not end, with the worker’s words', async () => {
    answers['GET /connectors'] = [{ status: 409, body: { message: 'still rebalancing' } }];
    await expect(new ConnectClient({ url, rebalanceMs: 300 }).names()).rejects.toMatchObject({
      code: 'CONNECT_UNREACHABLE',
      message: expect.stringContaining('still rebalancing'),
    });
  });

  test('that is not answered ends with its timeout, and one that is aborted with the signal’s reason', async () => {
    const client = new ConnectClient({ url, timeoutMs: 200 });
    await expect(client.names()).rejects.toMatchObject({
      code: 'CONNECT_UNREACHABLE',
      message: expect.stringContaining('no answer within 200 ms'),
    });
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(client.names(signal)).rejects.toThrow('enough');
  });

  test('for a connector that is not there is undefined, not an error', async () => {
    answers['GET /connectors/x/status'] = [{ status: 404, body: { message: 'no' } }];
    expect(await new ConnectClient({ url }).status('x')).toBeUndefined();
  });

  test('for the position gives the furthest LSN: a change may have been written before a commit that was passed on', async () => {
    const offset = { lsn_proc: 36506792, lsn_commit: 36510704, lsn: 36506792, ts_usec: 7, messageType: 'INSERT' };
    answers['GET /connectors/x/offsets'] = [
      { status: 200, body: { offsets: [{ partition: { server: 'cdc' }, offset }] } },
      { status: 200, body: { offsets: [] } },
    ];
    const client = new ConnectClient({ url });
    expect(await client.position('x')).toEqual({ lsn: 36_510_704n, time: 7n, unfinished: false });
    expect(await client.position('x')).toBeUndefined();
  });

  test('that sets a position says it exactly, or is not sent', async () => {
    answers['PATCH /connectors/x/offsets'] = [{ status: 200 }];
    const client = new ConnectClient({ url });
    const largest = 9_007_199_254_740_991n;
    await client.setPosition('x', 'cdc', { lsn: largest, time: 7n });
    const offset = { lsn: Number(largest), lsn_proc: Number(largest), lsn_commit: Number(largest), ts_usec: 7 };
    expect(sent).toEqual([
      { offsets: [{ partition: { server: 'cdc' }, offset: { ...offset, messageType: 'COMMIT' } }] },
    ]);
    const rounded = { lsn: largest + 2n, time: 7n };
    await expect(client.setPosition('x', 'cdc', rounded)).rejects.toMatchObject({ code: 'CONNECTOR_INVALID' });
    expect(sent).toHaveLength(1);
  });

  test('that sets the position of a connector that is gone is an error: it would begin with a snapshot', async () => {
    answers['PATCH /connectors/x/offsets'] = [{ status: 404 }];
    await expect(new ConnectClient({ url }).setPosition('x', 'cdc', { lsn: 1n, time: 1n })).rejects.toMatchObject({
      code: 'CONNECTOR_UNKNOWN',
    });
  });

  test('for the position tells a first snapshot that is not finished, and no other snapshot', async () => {
    const within = { snapshot: 'INITIAL', snapshot_completed: false, last_snapshot_record: false };
    const offsets = [
      within,
      { ...within, snapshot: true },
      { ...within, last_snapshot_record: true },
      { ...within, snapshot_completed: true },
      { ...within, snapshot: 'INCREMENTAL' },
      {},
    ];
    answers['GET /connectors/x/offsets'] = offsets.map((offset) => ({
      status: 200,
      body: { offsets: [{ partition: { server: 'cdc' }, offset: { lsn: 8, ...offset } }] },
    }));
    const client = new ConnectClient({ url });
    const found: unknown[] = [];
    for (const _ of offsets) found.push((await client.position('x'))?.unfinished);
    expect(found).toEqual([true, true, false, false, false, false]);
  });

  test.each([
    [
      'names its tables',
      { incremental_snapshot_collections: '[{"incremental_snapshot_collections_id":"public.trades"}]' },
      ['public.trades'],
    ],
    ['is not under way', {}, []],
    [
      'has not gone on since a restart, and is not named',
      { snapshot: 'INCREMENTAL', snapshot_completed: false },
      undefined,
    ],
  ])('for what is unread of a backfill that %s', async (_, offset, tables) => {
    answers['GET /connectors/c/offsets'] = [
      { status: 200, body: { offsets: [{ partition: { server: 'cdc' }, offset: { lsn: 7, ...offset } }] } },
    ];
    expect(await new ConnectClient({ url }).unread('c')).toEqual({ lsn: 7n, tables });
  });

  test('that is refused has the worker’s words', async () => {
    answers['PUT /connectors/x/config'] = [{ status: 400, body: { message: 'not like that' } }];
    await expect(new ConnectClient({ url }).put('x', {})).rejects.toMatchObject({
      code: 'CONNECTOR_INVALID',
      message: expect.stringContaining('not like that'),
    });
  });
});

describe('apply', () => {
  const type = 'a.B';
  const definition = { name: 'x', config: { 'connector.class': type, a: '1' } };
  const offsets = (unfinished: boolean) => ({
    status: 200,
    body: { offsets: [{ partition: {}, offset: { lsn: 8, ...(unfinished && { snapshot: 'INITIAL' }) } }] },
  });
  const status = (task: string) => ({
    status: 200,
    body: {
      name: 'x',
      connector: { state: 'RUNNING', worker_id: 'w' },
      tasks: [{ id: 0, state: task, worker_id: 'w', trace: 'A: first\n\tat b\nCaused by: C: root' }],
    },
  });

  beforeEach(() => {
    answers['GET /connector-plugins'] = [{ status: 200, body: [{ class: type }] }];
    answers[`PUT /connector-plugins/${type}/config/validate`] = [
      { status: 200, body: { error_count: 0, configs: [] } },
    ];
    answers['PUT /connectors/x/config'] = [{ status: 201, body: {} }];
    answers['PUT /connectors/x/resume'] = [{ status: 202 }];
    answers['GET /connectors/x/tasks'] = [
      { status: 200, body: [{ id: { connector: 'x', task: 0 }, config: { ...definition.config, 'task.class': 'T' } }] },
    ];
    answers['GET /connectors/x/status'] = [status('RUNNING')];
    answers['GET /connectors/x/offsets'] = [offsets(false)];
  });

  test('sends nothing when Kafka Connect has the same configuration', async () => {
    answers['GET /connectors/x/config'] = [{ status: 200, body: { ...definition.config, name: 'x' } }];
    expect(await applyConnector(new ConnectClient({ url }), definition)).toMatchObject({ action: 'unchanged' });
    expect(asked.filter((line) => line.startsWith('PUT /connectors/'))).toEqual([]);
  });

  test('waits until the task has the new configuration: one that runs with the old says nothing', async () => {
    answers['GET /connectors/x/config'] = [{ status: 200, body: { ...definition.config, a: '0' } }];
    const tasks = (a: string) => ({ status: 200, body: [{ id: { task: 0 }, config: { ...definition.config, a } }] });
    answers['GET /connectors/x/tasks'] = [tasks('0'), tasks('0'), tasks('1')];
    const applied = await applyConnector(new ConnectClient({ url }), definition, { settleMs: 0 });
    expect(applied).toMatchObject({ action: 'updated', changed: ['a'] });
    expect(asked.filter((line) => line === 'GET /connectors/x/tasks')).toHaveLength(3);
  });

  test('waits for the first snapshot before it sends other settings, which would end it, and refuses when that takes too long', async () => {
    answers['GET /connectors/x/config'] = [{ status: 200, body: { ...definition.config, a: '0' } }];
    answers['GET /connectors/x/offsets'] = [offsets(true)];
    const client = new ConnectClient({ url });
    await expect(applyConnector(client, definition, { timeoutMs: 0 })).rejects.toMatchObject({
      code: 'CONNECTOR_INVALID',
      message: expect.stringContaining('first snapshot'),
    });
    expect(asked.some((line) => line.startsWith('PUT /connectors/'))).toBe(false);
    answers['GET /connectors/x/offsets'] = [offsets(true), offsets(false)];
    expect(await applyConnector(client, definition, { settleMs: 0 })).toMatchObject({ action: 'updated' });
  });

  test('sends other settings at once to a connector whose first snapshot was interrupted', async () => {
    answers['GET /connectors/x/config'] = [{ status: 200, body: { ...definition.config, a: '0' } }];
    answers['GET /connectors/x/offsets'] = [offsets(true)];
    answers['GET /connectors/x/status'] = [status('FAILED'), status('RUNNING')];
    const applied = await applyConnector(new ConnectClient({ url }), definition, { settleMs: 0 });
    expect(applied).toMatchObject({ action: 'updated' });
  });

  test('reports a task that fails and stays failed, with the causes and without the frames', async () => {
    answers['GET /connectors/x/config'] = [{ status: 404 }];
    answers['GET /connectors/x/status'] = [status('RUNNING'), status('FAILED')];
    await expect(applyConnector(new ConnectClient({ url }), definition)).rejects.toMatchObject({
      code: 'CONNECTOR_FAILED',
      message: 'connector x does not run: RUNNING, task 0 FAILED\n  A: first\n  Caused by: C: root',
    });
  });

  test('changes nothing when a setting is refused', async () => {
    answers[`PUT /connector-plugins/${type}/config/validate`] = [
      { status: 200, body: { error_count: 1, configs: [{ value: { name: 'a', errors: ['too small'] } }] } },
    ];
    await expect(applyConnector(new ConnectClient({ url }), definition)).rejects.toMatchObject({
      code: 'CONNECTOR_INVALID',
      message: expect.stringContaining('a: too small'),
    });
    expect(asked.some((line) => line.startsWith('PUT /connectors/'))).toBe(false);
  });
});
