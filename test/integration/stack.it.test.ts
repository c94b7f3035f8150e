/** The local stack through its command, with real parts, in a home of its own. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from '@jest/globals';
import { projectDir } from '../../cli/settings/config.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import { freePorts, isFree } from '../../infra/local/machine/ports.ts';
import { isAlive, type ProcessId, startTimeOf } from '../../infra/local/machine/process.ts';
import { defaultPorts } from '../../infra/local/parts.ts';
import { stacksFolder } from '../support/stack.ts';

const home = stacksFolder('home');
const names = ['one', 'two', 'broken', 'stale'];

afterAll(async () => {
  for (const name of names) if (existsSync(join(home, name))) await millrace('down', '--wipe', '--stack', name);
  rmSync(home, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly text: string;
}

function start(...args: string[]) {
  const main = join(projectDir, 'cli/main.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    env: { ...process.env, MILLRACE_HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk));
  const ended = new Promise<Ended>((settle) => child.on('close', (code) => settle({ code, text })));
  return { child, ended };
}
const millrace = (...args: string[]): Promise<Ended> => start(...args).ended;

interface Recorded {
  readonly ports: Record<string, number>;
  readonly parts: Record<string, ProcessId>;
  readonly config: { readonly registry: { url: string }; readonly postgres: { url: string } };
}
const recordOf = (name: string): Recorded => JSON.parse(readFileSync(join(home, name, 'stack.json'), 'utf8'));

/** Of every part, whether it runs. */
async function alive(record: Recorded): Promise<Record<string, boolean>> {
  const parts = Object.entries(record.parts).map(async ([name, id]) => [name, await isAlive(id)] as const);
  return Object.fromEntries(await Promise.all(parts));
}
const all = (runs: boolean) => ({ postgres: runs, kafka: runs, minio: runs, registry: runs, connect: runs });

/** A stack that was never started, with chosen ports. */
async function planned(name: string, change: (ports: Record<string, number>) => void = () => {}): Promise<void> {
  const keys = Object.keys(defaultPorts);
  const ports: Record<string, number> = {};
  const free = await freePorts(keys.length);
  for (const [i, key] of keys.entries()) ports[key] = free[i] ?? 0;
  change(ports);
  mkdirSync(join(home, name), { recursive: true });
  writeFileSync(join(home, name, 'stack.json'), JSON.stringify({ name, startedAt: '', ports, parts: {}, config: {} }));
}

describe('a stack', () => {
  test('starts beside others, tells where it is, and starting it again changes nothing', async () => {
    expect(await millrace('up', '--stack', 'one')).toMatchObject({ code: 0, text: expect.stringContaining('is up') });
    const first = recordOf('one');
    expect(await alive(first)).toEqual(all(true));
    const again = await millrace('up', '--stack', 'one');
    expect(again).toMatchObject({ code: 0, text: expect.stringContaining('already running') });
    expect(recordOf('one').parts).toEqual(first.parts);
  });

  test('listens on loopback only', () => {
    const { parts } = recordOf('one');
    for (const [name, { pid }] of Object.entries(parts)) {
      for (const address of listening(pid))
        expect([name, address]).toEqual([name, expect.stringMatching(/^loopback:/)]);
    }
    expect(listening(parts['kafka']?.pid ?? 0)).toHaveLength(2);
  });

  test('starts a part that was killed, and only that one', async () => {
    const before = recordOf('one').parts;
    process.kill(before['registry']?.pid ?? 0, 'SIGKILL');
    while (await isAlive(before['registry'] as ProcessId)) await sleep(20);
    expect((await millrace('up', '--stack', 'one')).code).toBe(0);
    const after = recordOf('one').parts;
    expect(after['registry']).not.toEqual(before['registry']);
    expect({ ...after, registry: 0 }).toEqual({ ...before, registry: 0 });
  });

  test('leaves no process and no port behind when it is stopped, and keeps its ports, passwords and schema ids', async () => {
    const schema = { type: 'record', name: 'Kept', fields: [{ name: 'a', type: 'long' }] };
    const before = recordOf('one');
    const id = await register(before.config.registry.url, schema);
    expect((await millrace('down', '--stack', 'one')).code).toBe(0);
    expect(await alive(before)).toEqual(all(false));
    for (const port of Object.values(before.ports)) expect([port, await isFree(port)]).toEqual([port, true]);

    expect((await millrace('up', '--stack', 'one')).code).toBe(0);
    const after = recordOf('one');
    expect({ ports: after.ports, config: after.config }).toEqual({ ports: before.ports, config: before.config });
    await using registry = new Registry({ url: after.config.registry.url });
    expect(await registry.byId(id)).toMatchObject({ name: 'Kept' });
    expect(await register(after.config.registry.url, schema)).toBe(id);
  });

  test('of another name has ports of its own; wiping it touches nothing else', async () => {
    await planned('two');
    const { child, ended } = start('up', '--stack', 'two');
    await untilParts('two', 3);
    const begun = recordOf('two');
    const shared = Object.values(begun.ports).filter((port) => Object.values(recordOf('one').ports).includes(port));
    expect(shared).toEqual([]);

    // Interrupted while it starts: what it started is stopped again.
    child.kill('SIGINT');
    const { code, text } = await ended;
    expect({ code, text }).toEqual({ code: expect.any(Number), text: expect.stringContaining('interrupted') });
    expect(code).not.toBe(0);
    expect(Object.values(await alive(begun))).not.toContain(true);

    expect((await millrace('down', '--wipe', '--stack', 'two')).code).toBe(0);
    expect(existsSync(join(home, 'two'))).toBe(false);
    expect(await alive(recordOf('one'))).toEqual(all(true));
    expect((await millrace('down', '--wipe', '--stack', 'one')).code).toBe(0);
    expect(existsSync(join(home, 'one'))).toBe(false);
  });
});

describe('what goes wrong is one clear line', () => {
  test('for a taken port: the part, who has it, and what to do; nothing is started', async () => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const taken = (server.address() as { port: number }).port;
    try {
      await planned('broken', (ports) => {
        ports['minio'] = taken;
      });
      const { code, text } = await millrace('up', '--stack', 'broken');
      expect(code).toBe(1);
      expect(text).toContain(`MinIO needs port ${taken}, which pid ${process.pid}`);
      expect(text).toContain('remedy: ');
      expect(text).not.toMatch(/^ {4}at /m);
      expect(recordOf('broken').parts).toEqual({});
    } finally {
      await new Promise<void>((done) => server.close(() => done()));
    }
  });

  test('for a part that dies: the part and the end of its log; the others are stopped', async () => {
    await planned('broken');
    const data = join(home, 'broken', 'data', 'kafka');
    mkdirSync(data, { recursive: true });
    writeFileSync(join(data, 'meta.properties'), 'version=1\nnode.id=2\ncluster.id=AAAAAAAAAAAAAAAAAAAAAQ\n');
    const { code, text } = await millrace('up', '--stack', 'broken');
    expect(code).toBe(1);
    expect(text).toMatch(/error: Kafka ended with exit code 1 while starting; its log ends with/);
    expect(text).toContain("doesn't match previous node id");
    expect(text).toContain('remedy: ');
    expect(recordOf('broken').parts).toEqual({});
  });

  test('for a stale pid: it counts as stopped, and the process that has the pid now is left alone', async () => {
    const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    try {
      await planned('stale');
      const pid = stranger.pid ?? 0;
      const record = recordOf('stale');
      const stale = { pid, startTime: 'long ago', ports: {}, log: '', startedAt: '' };
      writeFileSync(join(home, 'stale', 'stack.json'), JSON.stringify({ ...record, parts: { kafka: stale } }));
      const down = await millrace('down', '--stack', 'stale');
      expect(down).toMatchObject({ code: 0, text: expect.stringContaining('was not running') });
      expect(await startTimeOf(pid)).toBeDefined();
      expect(recordOf('stale').parts).toEqual({});
    } finally {
      stranger.kill('SIGKILL');
    }
  });
});

async function register(url: string, schema: object): Promise<number> {
  await using registry = new Registry({ url });
  return await registry.register('kept-value', schema);
}

async function untilParts(name: string, count: number): Promise<void> {
  for (let tries = 0; tries < 6000; tries += 1) {
    const text = existsSync(join(home, name, 'stack.json'))
      ? readFileSync(join(home, name, 'stack.json'), 'utf8')
      : '{}';
    if (Object.keys((JSON.parse(text) as Partial<Recorded>).parts ?? {}).length >= count) return;
    await sleep(20);
  }
  throw new Error(`${name} never had ${count} parts`);
}

/** `loopback:port` or `address:port` for each socket on which the process listens. */
function listening(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  const own = readdirSync(folder).flatMap((file) => /^socket:\[(\d+)\]$/.exec(linkOf(join(folder, file)))?.[1] ?? []);
  const loopback = new Set(['0100007F', '00000000000000000000000001000000', '0000000000000000FFFF00000100007F']);
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
        if (state !== '0A' || !own.includes(inode)) return [];
        const [address = '', port = ''] = local.split(':');
        return [`${loopback.has(address) ? 'loopback' : address}:${Number.parseInt(port, 16)}`];
      }),
  );
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // closed meanwhile
  }
}
