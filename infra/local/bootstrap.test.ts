import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

let clone: string;
const at = (path: string): string => join(clone, path);
const lockfile = (version: string) => ({
  packages: {
    '': { name: 'clone' },
    'node_modules/thing': { version },
    'node_modules/elsewhere': { version: '1.0.0', optional: true },
  },
});

/** A fake npm: counts its runs, and installs the lockfile's packages with this Node as the project's own. */
const npm = `
const fs = require('node:fs');
fs.appendFileSync('npm.log', process.argv.slice(2).join(' ') + '\\n');
if (fs.existsSync('npm-fails')) process.exit(7);
fs.rmSync('node_modules', { recursive: true, force: true });
fs.mkdirSync('node_modules/.bin', { recursive: true });
if (!fs.existsSync('npm-without-node')) fs.symlinkSync(process.execPath, 'node_modules/.bin/node');
const { packages } = JSON.parse(fs.readFileSync('package-lock.json', 'utf8'));
delete packages['node_modules/elsewhere'];
fs.writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages }));
`;

beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'millrace-clone-'));
  mkdirSync(at('infra/local'), { recursive: true });
  mkdirSync(at('cli'));
  cpSync(join(import.meta.dirname, 'bootstrap.mjs'), at('infra/local/bootstrap.mjs'));
  writeFileSync(at('package.json'), '{"type":"module"}');
  writeFileSync(at('package-lock.json'), JSON.stringify(lockfile('1.0.0')));
  writeFileSync(at('npm-cli.cjs'), npm);
  mkdirSync(at('bin'));
  cpSync(at('npm-cli.cjs'), at('bin/npm-cli.js'));
  writeFileSync(at('bin/package.json'), '{"type":"commonjs"}');
  mkdirSync(at('test/suite'), { recursive: true });
  for (const [name, path] of [
    ['main', 'cli/main.ts'],
    ['test', 'test/suite/main.ts'],
  ] as const) {
    writeFileSync(at(path), `console.log('${name}', ...process.argv.slice(2)); process.exitCode = 3;`);
  }
});
afterEach(() => rmSync(clone, { recursive: true, force: true }));

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(...args: string[]) {
  const child = spawn(process.execPath, [at('infra/local/bootstrap.mjs'), ...args], {
    cwd: tmpdir(),
    env: { ...process.env, npm_execpath: at('bin/npm-cli.js') },
  });
  const run = { out: '', err: '' };
  child.stdout.on('data', (text) => (run.out += text));
  child.stderr.on('data', (text) => (run.err += text));
  const done = new Promise<Run>((settle) => child.on('close', (code) => settle({ code, ...run })));
  return { child, done, run };
}
const npmRuns = (): number =>
  existsSync(at('npm.log')) ? readFileSync(at('npm.log'), 'utf8').split('\n').length - 1 : 0;

describe('on a fresh clone', () => {
  test('the packages are installed first, then the command runs with its arguments and its exit code', async () => {
    const { code, out, err } = await start('demo', '--keep', 'a b').done;
    expect({ code, out }).toEqual({ code: 3, out: 'main demo --keep a b\n' });
    expect(err).toContain('npm ci');
    expect(readFileSync(at('npm.log'), 'utf8')).toMatch(/^ci /);
  });

  test('`test` runs the test runner', async () => {
    expect((await start('test', 'lint').done).out).toBe('test lint\n');
  });

  test('a command runs in the folder in which npm was called: its paths are of there', () => {
    writeFileSync(at('cli/main.ts'), 'console.log(process.cwd());');
    mkdirSync(at('below'));
    const called = spawnSync(process.execPath, [at('infra/local/bootstrap.mjs'), 'load'], {
      cwd: clone,
      env: { ...process.env, npm_execpath: at('bin/npm-cli.js'), INIT_CWD: at('below') },
      encoding: 'utf8',
    });
    expect(called.stdout.trim()).toBe(realpathSync(at('below')));
  });

  test('two commands at once install once', async () => {
    const both = await Promise.all([start('demo').done, start('test').done]);
    expect(both.map(({ code }) => code)).toEqual([3, 3]);
    expect(npmRuns()).toBe(1);
  });

  test('the lock of an installation that was killed is taken over', async () => {
    mkdirSync(at('.millrace/install.lock'), { recursive: true });
    writeFileSync(at('.millrace/install.lock/pid'), String(2 ** 22 + 1));
    expect((await start('demo').done).code).toBe(3);
    expect(existsSync(at('.millrace/install.lock'))).toBe(false);
  });

  test('an npm that fails is one line, and nothing is started', async () => {
    writeFileSync(at('npm-fails'), '');
    const { code, out, err } = await start('demo').done;
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toContain('error: npm ci failed with exit code 7');
    expect(err).not.toContain('    at ');
  });
});

describe('on a clone that has run before', () => {
  test('nothing is installed again', async () => {
    await start('demo').done;
    const { err } = await start('demo').done;
    expect(err).toBe('');
    expect(npmRuns()).toBe(1);
  });

  test('a changed lockfile installs again', async () => {
    await start('demo').done;
    writeFileSync(at('package-lock.json'), JSON.stringify(lockfile('1.0.1')));
    await start('demo').done;
    expect(npmRuns()).toBe(2);
  });

  test('an installation that was interrupted is made again', async () => {
    await start('demo').done;
    rmSync(at('node_modules/.package-lock.json'));
    await start('demo').done;
    expect(npmRuns()).toBe(2);
  });
});

test('an interrupt that arrives twice, from the terminal and from npm, is heard once', async () => {
  writeFileSync(
    at('cli/main.ts'),
    `let heard = 0;
     process.on('SIGINT', () => { heard += 1; });
     setInterval(() => { if (heard > 0) setTimeout(() => { console.log('heard', heard); process.exit(130); }, 500); }, 50);
     console.log('ready');`,
  );
  const { child, done, run } = start('demo');
  while (!run.out.includes('ready')) await sleep(20);
  child.kill('SIGINT');
  await sleep(100); // at the same instant the system itself would make one of them
  child.kill('SIGINT');
  expect(await done).toMatchObject({ code: 130, out: expect.stringContaining('heard 1\n') });
});
