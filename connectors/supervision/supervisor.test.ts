import { describe, expect, test } from '@jest/globals';
import type { ConnectorStatus } from '../client.ts';
import { Supervisor, type SupervisorListener } from './supervisor.ts';

/** One connector with one task, whose state the test sets, and a clock that the test moves. */
class World {
  now = 0;
  state: string | 'absent' | 'down' = 'RUNNING';
  restarts: number[] = [];
  events: string[] = [];
  readonly supervisor: Supervisor;

  constructor() {
    const listener: SupervisorListener = {
      state: ({ task, state, running }) => this.events.push(`${task} ${state} ${running ? 1 : 0}`),
      gone: ({ task }) => this.events.push(`${task} gone`),
      restarted: ({ attempt, cause }) => this.events.push(`restart ${attempt} ${cause}`),
      failed: (error) => this.events.push(error.message),
    };
    this.supervisor = new Supervisor({
      connectors: ['c'],
      listener,
      backoff: { firstMs: 1000, maxMs: 8000 },
      stableMs: 60_000,
      random: () => 1,
      now: () => this.now,
      client: {
        status: async () => this.#status(),
        restart: async () => true,
        restartTask: async () => {
          this.restarts.push(this.now);
          return true;
        },
      },
    });
  }

  /** Runs one round a second up to the given second; the task's state stays as set. */
  async until(second: number): Promise<void> {
    for (; this.now <= second * 1000; this.now += 1000) await this.supervisor.round();
  }

  #status(): ConnectorStatus | undefined {
    if (this.state === 'down') throw new Error('no answer');
    if (this.state === 'absent') return undefined;
    const task = { id: 0, state: this.state, worker: 'w', trace: 'A: outer\n\tat x\nCaused by: B: root\n\t... 3 more' };
    return { name: 'c', state: 'RUNNING', worker: 'w', trace: undefined, tasks: [task] };
  }
}

describe('the supervisor', () => {
  test('does not restart running or paused parts', async () => {
    const world = new World();
    await world.until(5);
    world.state = 'PAUSED';
    await world.until(100);
    expect(world.restarts).toEqual([]);
  });

  test('restarts a failed task after waits that double up to their bound', async () => {
    const world = new World();
    world.state = 'FAILED';
    await world.until(40);
    expect(world.restarts).toEqual([1000, 3000, 7000, 15_000, 23_000, 31_000, 39_000]);
    expect(world.supervisor.restarts).toBe(7);
    expect(world.events).toContain('restart 1 Caused by: B: root');
  });

  test('begins with the first wait again only when the task ran for long enough', async () => {
    const world = new World();
    world.state = 'FAILED';
    await world.until(7);
    world.state = 'RUNNING';
    await world.until(20);
    world.restarts = [];
    world.state = 'FAILED';
    await world.until(35);
    expect(world.restarts).toEqual([29_000]);
    world.state = 'RUNNING';
    await world.until(120);
    world.restarts = [];
    world.state = 'FAILED';
    await world.until(123);
    expect(world.restarts).toEqual([122_000]);
  });

  test('reports 0 for every known part when Kafka Connect does not answer, and goes on', async () => {
    const world = new World();
    await world.supervisor.round();
    world.events = [];
    world.state = 'down';
    await world.supervisor.round();
    expect(world.events).toEqual(['connector UNREACHABLE 0', '0 UNREACHABLE 0', 'no answer']);
    world.events = [];
    world.state = 'RUNNING';
    await world.supervisor.round();
    expect(world.events).toEqual(['connector RUNNING 1', '0 RUNNING 1']);
  });

  test('reports an absent connector as not running, and forgets its tasks', async () => {
    const world = new World();
    await world.supervisor.round();
    world.events = [];
    world.state = 'absent';
    await world.supervisor.round();
    expect(world.events).toEqual(['0 gone', 'connector ABSENT 0']);
    expect(world.supervisor.states).toEqual([{ connector: 'c', task: 'connector', state: 'ABSENT' }]);
  });

  test('stops at its signal', async () => {
    const world = new World();
    const stop = new AbortController();
    const running = world.supervisor.run(stop.signal);
    stop.abort();
    await running;
  });
});
