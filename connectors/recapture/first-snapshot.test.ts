import { readFile } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import { MillraceError } from '../../core/base/errors.ts';
import { FirstSnapshot, refusal } from './first-snapshot.ts';
import type { Recaptured } from './recapture.ts';

const done: Recaptured = { lsn: 8n, place: 7n, from: 0n, to: 0n, moved: 0n, tables: [], untold: [] };
const trace = `org.apache.kafka.connect.errors.ConnectException: x\nCaused by: org.postgresql.util.PSQLException: ERROR: ${refusal}: y`;

/** A connector after a crash within its first snapshot. */
function world() {
  const state = {
    connector: 'RUNNING' as string | undefined,
    task: 'FAILED',
    trace,
    position: 'unfinished' as 'unfinished' | 'finished' | undefined,
    captured: true,
    broken: undefined as Error | undefined,
    deaf: undefined as Error | undefined,
  };
  const events: string[] = [];
  const snapshot = new FirstSnapshot({
    connector: 'c',
    client: {
      status: async () =>
        state.connector === undefined
          ? undefined
          : {
              ...{ name: 'c', state: state.connector, worker: 'w', trace: undefined },
              tasks:
                state.connector === 'STOPPED' ? [] : [{ id: 0, state: state.task, worker: 'w', trace: state.trace }],
            },
      position: async () => state.position && { lsn: 7n, time: 0n, unfinished: state.position === 'unfinished' },
      resume: async () => {
        if (state.deaf !== undefined) throw state.deaf;
        events.push('resume');
        state.connector = 'RUNNING';
        state.task = 'RUNNING';
      },
    },
    fill: async () => {
      events.push('fill');
      state.connector = 'STOPPED';
      if (state.broken !== undefined) throw state.broken;
      if (!state.captured) throw new MillraceError('POSITION_LOST', 'nothing of it was ever captured');
      state.position = 'finished';
      return done;
    },
    reset: async () => {
      events.push('reset');
      state.position = undefined;
    },
    listener: {
      interrupted: () => events.push('interrupted'),
      filled: () => events.push('filled'),
      begunAnew: () => events.push('begun anew'),
    },
  });
  return { state, events, snapshot };
}

describe('a first snapshot', () => {
  test('that Postgres did not let begin again is filled, and then capture goes on', async () => {
    const { events, snapshot } = world();
    await snapshot.look();
    await snapshot.look();
    await snapshot.look();
    expect(events).toEqual(['interrupted', 'fill', 'filled', 'resume']);
  });

  test('that was interrupted before a row was committed begins anew: there is nothing to compare with, and nothing to count twice', async () => {
    const { state, events, snapshot } = world();
    state.position = undefined;
    state.captured = false;
    await snapshot.look();
    expect(events).toEqual(['interrupted', 'fill', 'reset', 'begun anew', 'resume']);
  });

  test('with an interrupted filling is filled when found twice: at the first look another process may be filling it', async () => {
    const { state, events, snapshot } = world();
    state.connector = 'STOPPED';
    await snapshot.look();
    expect(events).toEqual([]);
    await snapshot.look();
    expect(events).toEqual(['interrupted', 'fill', 'filled', 'resume']);
  });

  test.each([
    ['is under way', { task: 'RUNNING' }],
    ['failed for a reason of its own, which the supervisor tries again', { trace: 'the database is down' }],
    ['is finished, of a connector that somebody stopped', { connector: 'STOPPED', position: 'finished' as const }],
    ['is not known, of a connector that somebody stopped', { connector: 'STOPPED', position: undefined }],
    ['is of no connector', { connector: undefined }],
  ])('that %s is left alone', async (_, given) => {
    const { state, events, snapshot } = world();
    Object.assign(state, given);
    await snapshot.look();
    await snapshot.look();
    expect(events).toEqual([]);
  });

  test('that cannot be filled is tried again, and capture does not go on', async () => {
    const { state, events, snapshot } = world();
    state.broken = new Error('Kafka is down');
    await expect(snapshot.look()).rejects.toThrow('Kafka is down');
    state.position = undefined;
    await expect(snapshot.look()).rejects.toThrow('Kafka is down');
    state.broken = undefined;
    await snapshot.look();
    expect(events).toEqual(['interrupted', 'fill', 'interrupted', 'fill', 'interrupted', 'fill', 'filled', 'resume']);
  });

  test('that was filled, and could not be told to go on, is told again', async () => {
    const { state, events, snapshot } = world();
    state.deaf = new Error('Kafka Connect is down');
    await expect(snapshot.look()).rejects.toThrow('Kafka Connect is down');
    state.deaf = undefined;
    await snapshot.look();
    await snapshot.look();
    expect(events.slice(3)).toEqual(['interrupted', 'fill', 'filled', 'resume']);
  });
});

test('the words by which a refusal is known are those of Postgres', async () => {
  const sql = await readFile(new URL('../../infra/sql/0004_first_snapshot.sql', import.meta.url), 'utf8');
  expect(sql).toContain(`RAISE EXCEPTION '${refusal}`);
});
