import { beforeEach, describe, expect, test } from '@jest/globals';
import type { Client } from 'pg';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import { MemoryLog } from '../../core/testing/memory-log.ts';
import type { ConnectorStatus } from '../client.ts';
import { type FollowOptions, followBackfill } from './follow.ts';
import type { Backfill } from './signals.ts';

const topic = 'cdc.public.trades';
const notifications = 'cdc.notifications';
const backfill: Backfill = {
  id: 'backfill-1',
  table: 'public.trades',
  where: null,
  rows: 3,
  begun: '2026-11-21T00:00:00.000Z',
  from: [1n, 0n],
  notified: 1n,
};
const envelope = {
  type: 'record',
  name: 'Envelope',
  fields: [
    { name: 'op', type: 'string' },
    {
      name: 'source',
      type: { type: 'record', name: 'Source', fields: [{ name: 'snapshot', type: ['null', 'string'], default: null }] },
    },
  ],
};
const notification = {
  type: 'record',
  name: 'Notification',
  fields: [
    ...['id', 'type', 'aggregate_type'].map((name) => ({ name, type: 'string' })),
    { name: 'additional_data', type: ['null', { type: 'map', values: 'string' }], default: null },
    { name: 'timestamp', type: 'long' },
  ],
};

let log: MemoryLog;
let schemas: MemorySchemas;
let row: (partition: number, op: string, snapshot: string) => void;
let notice: (type: string, status?: string, id?: string) => void;
/** Statements sent to Postgres. */
let asked: string[];
let connector: { status: ConnectorStatus | undefined; lsn: bigint; tables: string[] | undefined };

const running: ConnectorStatus = {
  name: 'c',
  state: 'RUNNING',
  worker: 'w',
  trace: undefined,
  tasks: [{ id: 0, state: 'RUNNING', worker: 'w', trace: undefined }],
};

beforeEach(async () => {
  log = new MemoryLog();
  schemas = new MemorySchemas();
  asked = [];
  connector = { status: running, lsn: 0n, tables: ['public.trades'] };
  log.create(topic, 2);
  log.create(notifications, 1);
  const rows = await AvroEncoder.open<object>(schemas, 'rows', envelope);
  const notices = await AvroEncoder.open<object>(schemas, 'notices', notification);
  row = (partition, op, snapshot) => {
    const value = rows.encode({ op, source: { snapshot } });
    log.append({ topic, partition, key: null, value, timestamp: 0n });
  };
  notice = (type, status, id = backfill.id) => {
    const more = status === undefined ? null : { status };
    const value = notices.encode({
      id,
      type,
      aggregate_type: 'Incremental Snapshot',
      additional_data: more,
      timestamp: 0n,
    });
    log.append({ topic: notifications, partition: 0, key: null, value, timestamp: 0n });
  };
  // Notices of an earlier backfill: its rows and its end.
  row(0, 'r', 'incremental');
  notice('COMPLETED');
});

function follow(over: Partial<FollowOptions> = {}): ReturnType<typeof followBackfill> {
  const db = {
    query: async (text: string) => {
      asked.push(text.slice(0, 6));
      return { rows: [{ lsn: '100' }] };
    },
  } as unknown as Pick<Client, 'query'>;
  const client = { status: async () => connector.status, unread: async () => connector };
  return followBackfill({ db, log, schemas, client, connector: 'c', prefix: 'cdc', backfill, ...over });
}

describe('a backfill', () => {
  test('that is completed has captured the rows that it read since it began, and no other changes; then it is forgotten', async () => {
    row(0, 'r', 'incremental');
    row(0, 'u', 'false');
    row(1, 'r', 'incremental');
    row(1, 'r', 'true');
    for (const type of ['STARTED', 'IN_PROGRESS']) notice(type);
    notice('TABLE_SCAN_COMPLETED', 'SUCCEEDED');
    notice('COMPLETED');
    const told: number[] = [];
    expect(await follow({ onProgress: (rows) => told.push(rows) })).toEqual({ result: 'completed', captured: 2 });
    expect(told.at(-1)).toBe(2);
    expect(asked).toEqual(['SELECT', 'DELETE']);
  });

  test('is followed to its own end, also with notices of other backfills', async () => {
    notice('TABLE_SCAN_COMPLETED', 'SUCCEEDED', 'another');
    notice('COMPLETED', undefined, 'another');
    notice('STARTED');
    let polls = 0;
    const onProgress = (): void => {
      if (++polls < 3) return;
      notice('TABLE_SCAN_COMPLETED', 'EMPTY');
      notice('COMPLETED');
    };
    expect(await follow({ onProgress })).toEqual({ result: 'completed', captured: 0 });
    expect(polls).toBeGreaterThan(3);
  });

  test.each([
    ['Debezium says that it is completed, and not that the table was', 'COMPLETED'],
    ['Debezium says that it is aborted', 'ABORTED'],
  ])('was stopped when %s', async (_, type) => {
    row(0, 'r', 'incremental');
    notice('IN_PROGRESS');
    notice(type);
    expect(await follow()).toEqual({ result: 'stopped', captured: 1 });
    expect(asked).toEqual(['SELECT', 'DELETE']);
  });

  test('whose table Debezium could not read has failed with its reason, and is forgotten', async () => {
    notice('TABLE_SCAN_COMPLETED', 'SQL_EXCEPTION');
    notice('COMPLETED');
    await expect(follow()).rejects.toMatchObject({
      code: 'BACKFILL_FAILED',
      message: expect.stringContaining('Postgres refused what Debezium asked'),
    });
    expect(asked).toEqual(['SELECT', 'DELETE']);
  });

  test('of which nothing comes is given up waiting for, and not forgotten: it goes on by itself', async () => {
    await expect(follow({ waitMs: 1 })).rejects.toMatchObject({ code: 'PIPELINE_STUCK' });
    expect(asked).toEqual(['SELECT']);
  });

  test('that the connector knows nothing of any more has failed', async () => {
    connector = { ...connector, lsn: 101n, tables: [] };
    await expect(follow({ askMs: 1 })).rejects.toMatchObject({
      code: 'BACKFILL_FAILED',
      message: expect.stringContaining('knows nothing of it any more'),
    });
    expect(asked).toEqual(['SELECT', 'DELETE']);
  });

  test('is waited for while its restarted connector does not say what it reads', async () => {
    connector = { ...connector, lsn: 101n, tables: undefined };
    let asks = 0;
    const unread = async () => {
      if (++asks === 3) {
        notice('TABLE_SCAN_COMPLETED', 'SUCCEEDED');
        notice('COMPLETED');
      }
      return connector;
    };
    const client = { status: async () => running, unread };
    expect(await follow({ client, askMs: 1 })).toEqual({ result: 'completed', captured: 0 });
    expect(asks).toBe(3);
  });

  test('has failed when its connector does not say what it reads for as long as is waited', async () => {
    connector = { ...connector, lsn: 101n, tables: undefined };
    await expect(follow({ waitMs: 700 })).rejects.toMatchObject({
      code: 'BACKFILL_FAILED',
      message: expect.stringContaining('knows nothing of it any more'),
    });
    expect(asked).toEqual(['SELECT', 'DELETE']);
  });

  test('that ended while the connector was asked is completed', async () => {
    connector = { ...connector, lsn: 101n, tables: [] };
    const client = {
      status: async () => {
        row(0, 'r', 'incremental');
        notice('TABLE_SCAN_COMPLETED', 'SUCCEEDED');
        notice('COMPLETED');
        return running;
      },
      unread: async () => connector,
    };
    expect(await follow({ client, askMs: 1 })).toEqual({ result: 'completed', captured: 1 });
  });

  test('whose signal the connector has not come to is waited for', async () => {
    connector = { ...connector, lsn: 99n, tables: [] };
    await expect(follow({ askMs: 1, waitMs: 700 })).rejects.toMatchObject({ code: 'PIPELINE_STUCK' });
  });

  test('goes on with its connector, which may be seen not to run for a while', async () => {
    connector.status = { ...running, state: 'RESTARTING' };
    let asks = 0;
    const client = {
      status: async () => {
        if (++asks === 3) {
          notice('TABLE_SCAN_COMPLETED', 'SUCCEEDED');
          notice('COMPLETED');
        }
        return connector.status;
      },
      unread: async () => connector,
    };
    expect(await follow({ client, askMs: 1 })).toEqual({ result: 'completed', captured: 0 });
    expect(asks).toBe(3);
  });

  test('stands still while its connector does, which is said with the cause', async () => {
    const trace = 'org.x.Outer: first\n\tat a.b\nCaused by: org.x.Inner: no disk\n\tat c.d';
    connector.status = { ...running, tasks: [{ id: 0, state: 'FAILED', worker: 'w', trace }] };
    await expect(follow({ askMs: 1, downMs: 0 })).rejects.toMatchObject({
      code: 'CONNECTOR_FAILED',
      message: expect.stringContaining('no disk'),
    });
    connector.status = undefined;
    await expect(follow({ askMs: 1, downMs: 0 })).rejects.toMatchObject({ code: 'CONNECTOR_UNKNOWN' });
    expect(asked).toEqual(['SELECT', 'SELECT']);
  });
});
