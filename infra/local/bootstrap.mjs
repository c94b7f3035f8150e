#!/usr/bin/env node
/**
 * Entry point on a fresh clone: installs the lockfile's packages if they are missing, then runs Millrace on the lockfile's own Node.
 *
 *   node infra/local/bootstrap.mjs test […]       the test runner
 *   node infra/local/bootstrap.mjs soak […]       the long tests
 *   node infra/local/bootstrap.mjs bench […]      the benchmarks
 *   node infra/local/bootstrap.mjs <command> […]  the CLI, e.g. demo
 *
 * Runs on any installed Node from 18, before anything is installed: built-in modules only.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const modules = join(root, 'node_modules');
const ownNode = join(modules, '.bin', process.platform === 'win32' ? 'node.cmd' : 'node');
const wantedMajor = 24;

/** An expected failure, reported as one sentence without a stack trace. */
class Refusal extends Error {}

/** The packages in node_modules are those of the lockfile. npm writes node_modules/.package-lock.json as its last step. */
function isInstalled() {
  const hidden = readJson(join(modules, '.package-lock.json'));
  const wanted = readJson(join(root, 'package-lock.json'));
  if (hidden === undefined || wanted === undefined) return false;
  return Object.entries(wanted.packages).every(([path, { version, optional, devOptional, peer }]) => {
    if (path === '' || optional || devOptional || peer) return true;
    return hidden.packages[path]?.version === version;
  });
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** The Node to run on: the npm-installed one, or the present one if it is new enough. */
function findNode() {
  const { stdout } = spawnSync(ownNode, ['--version'], { encoding: 'utf8' });
  if (majorOf(stdout) >= wantedMajor) return ownNode;
  return majorOf(process.version) >= wantedMajor ? process.execPath : undefined;
}

function majorOf(version) {
  return Number(/^v(\d+)/.exec(version ?? '')?.[1] ?? 0);
}

async function install() {
  const lock = join(root, '.millrace', 'install.lock');
  await acquire(lock);
  try {
    if (isInstalled() && findNode() !== undefined) return; // another process was faster
    process.stderr.write('installing the packages of package-lock.json (npm ci), once …\n');
    // npm gives its own path to its scripts; otherwise npm is found on the PATH.
    const npm = process.env.npm_execpath;
    const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
    const known = npm !== undefined && /npm-cli\.js$/.test(npm) && existsSync(npm);
    const code = await run(known ? process.execPath : 'npm', known ? [npm, ...args] : args);
    if (code !== 0) throw new Refusal(`npm ci failed with exit code ${code}; see above, and run again`);
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
  if (findNode() === undefined) {
    throw new Refusal(
      `Node ${wantedMajor} is not in node_modules/.bin after npm ci, and this is ${process.version}: ` +
        `allow the install script of the package "node" (npm config get ignore-scripts), or install Node ${wantedMajor}`,
    );
  }
}

/** Takes the lock of the installation. A lock is ignored when its process has ended. */
async function acquire(lock) {
  mkdirSync(dirname(lock), { recursive: true });
  for (let waited = 0; ; waited += 500) {
    try {
      mkdirSync(lock);
      writeFileSync(join(lock, 'pid'), `${process.pid}`);
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const pid = Number(readText(join(lock, 'pid')));
    if (waited > 0 && !(pid > 0 && isAlive(pid))) rmSync(lock, { recursive: true, force: true });
    else if (waited === 500) process.stderr.write(`waiting for the installation of process ${pid} …\n`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function readText(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/**
 * Runs a command and returns its exit code. The command has its own process group. On Ctrl-C the terminal signals the whole group, and npm
 * forwards the signal as well. The command must get it once, because a second signal means "at once".
 */
function run(command, args, env = process.env, cwd = root) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: 'inherit', detached: process.platform !== 'win32' });
    const heard = new Map();
    const forward = (signal) => {
      const now = Date.now();
      if (now - (heard.get(signal) ?? 0) > 300) child.kill(signal);
      heard.set(signal, now);
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, forward);
    child.on('error', (error) => reject(new Refusal(`${command} cannot be started: ${error.message}`)));
    child.on('close', (code, signal) => {
      for (const each of signals) process.off(each, forward);
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

try {
  const [command = '--help', ...rest] = process.argv.slice(2);
  if (!isInstalled() || findNode() === undefined) await install();
  const runners = {
    test: join(root, 'test', 'suite', 'main.ts'),
    soak: join(root, 'test', 'faults', 'soak.ts'),
    bench: join(root, 'bench', 'main.ts'),
  };
  const entry = command in runners ? [runners[command], ...rest] : [join(root, 'cli', 'main.ts'), command, ...rest];
  const path = `${join(modules, '.bin')}${delimiter}${process.env.PATH ?? ''}`;
  // npm runs scripts in the package's folder and sets INIT_CWD to the caller's folder. Paths on the command line are relative to the
  // latter.
  const cwd = command in runners ? root : (process.env.INIT_CWD ?? process.cwd());
  process.exitCode = await run(findNode(), entry, { ...process.env, PATH: path }, cwd);
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  process.stderr.write(`error: ${error.message}\n`);
  process.exitCode = 1;
}
