/**
 * What `npm test` runs: every check, in order, none skipped because an earlier one failed. The last line is `N passed, N failed`.
 *
 *   npm test                      everything
 *   npm test -- lint types        only these steps
 *   npm test -- parquet           only test files whose path matches
 *
 * Property tests draw the same cases in every run, so that one run says of a change what the next would say; other cases are those of
 * `npm run soak -- properties`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectDir, stackDir, stacksHome } from './settings/config.ts';
import { untilSignal } from './terminal/signals.ts';

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** What to show; nothing when it went to the terminal already. */
  readonly output?: string;
}

interface Step {
  readonly name: string;
  run(): Promise<Outcome>;
}

const ok: Outcome = { passed: 1, failed: 0, skipped: 0 };
const nothing: Outcome = { passed: 0, failed: 0, skipped: 0 };
const stackName = `test-${process.pid}`;
/** How long a jest process may linger after its last test. */
const lingerMs = 20_000;
/** Of the property tests. */
const seed = 20_131_125;

const stop = untilSignal();
const scratch = mkdtempSync(join(tmpdir(), 'millrace-test-'));
const bin = (name: string): string => join(projectDir, 'node_modules', '.bin', name);
const main = join(projectDir, 'cli', 'main.ts');
const node = ['--disable-warning=ExperimentalWarning'];

function steps(patterns: readonly string[]): readonly Step[] {
  return [
    { name: 'lint', run: () => check(bin('biome'), ['check', '--error-on-warnings', '.']) },
    { name: 'types', run: () => check(bin('tsc'), ['--noEmit', '-p', 'tsconfig.json']) },
    { name: 'generated', run: () => check(process.execPath, [...node, main, 'schemas', 'gen', '--check']) },
    {
      name: 'unit',
      run: () =>
        jest(
          'unit',
          ['--maxWorkers=100%', '--testPathIgnorePatterns', '/node_modules/', '/.millrace/', integrationFiles],
          patterns,
        ),
    },
    { name: 'integration', run: () => integration(patterns) },
  ];
}

const integrationFiles = '\\.it\\.test\\.ts$';

/** A command whose exit code says it all. */
async function check(command: string, args: readonly string[]): Promise<Outcome> {
  const { code, output } = await execute(command, args);
  return code === 0 ? ok : { ...nothing, failed: 1, output };
}

/** The tests that need the real stack share one, fresh each time; they run one after the other. */
async function integration(patterns: readonly string[]): Promise<Outcome> {
  const only = ['--testMatch', '**/*.it.test.ts', '--runInBand'];
  const listed = await execute(process.execPath, [...jestCommand, '--listTests', ...only, ...patterns]);
  if (!listed.output.split('\n').some((line) => line.endsWith('.it.test.ts'))) return nothing;
  await removeStale();
  const up = await execute(process.execPath, [...node, main, 'up', '--stack', stackName], { show: true });
  try {
    if (up.code !== 0) return { ...nothing, failed: 1, output: 'the stack did not start: no integration test has run' };
    return await jest('integration', only, patterns);
  } finally {
    await takeDown(stackName);
  }
}

/** Stacks of test runs that were killed. */
async function removeStale(): Promise<void> {
  const home = stacksHome();
  if (!existsSync(home)) return;
  for (const name of readdirSync(home)) {
    const pid = Number(/^test-(\d+)$/.exec(name)?.[1]);
    if (pid > 0 && !isAlive(pid)) await takeDown(name);
  }
}

async function takeDown(name: string): Promise<void> {
  const down = await execute(process.execPath, [...node, main, 'down', '--wipe', '--stack', name], { always: true });
  if (down.code === 0) rmSync(stackDir(name), { recursive: true, force: true });
  else process.stdout.write(`the stack ${name} could not be stopped:\n${down.output}`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

const jestCommand = [...node, '--experimental-vm-modules', join(projectDir, 'node_modules/jest/bin/jest.js')];

interface JestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  /** Files that could not even be loaded. */
  readonly numRuntimeErrorTestSuites: number;
}

async function jest(name: string, args: readonly string[], patterns: readonly string[]): Promise<Outcome> {
  const file = join(scratch, `${name}.json`);
  const report = ['--json', '--outputFile', file, '--passWithNoTests', '--seed', String(seed)];
  const { code, killed } = await execute(process.execPath, [...jestCommand, ...report, ...args, '--', ...patterns], {
    show: true,
    env: { MILLRACE_TEST_STACK: stackName, MILLRACE_STACK: stackName },
    doneWhen: () => existsSync(file),
  });
  if (!existsSync(file)) return { ...nothing, failed: 1, output: `jest ended with ${code} and without a report` };
  const result = JSON.parse(readFileSync(file, 'utf8')) as JestReport;
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  return {
    passed: result.numPassedTests,
    // Exit code 1 with no failed test: a coverage threshold, an error in the configuration.
    failed: failed + (killed || (code !== 0 && failed === 0) ? 1 : 0),
    skipped: result.numPendingTests + result.numTodoTests,
    ...(killed ? { output: `jest did not end ${lingerMs / 1000} s after its last test: something is left open` } : {}),
  };
}

interface ExecuteOptions {
  /** Straight to the terminal instead of into the result. */
  readonly show?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Also after an interrupt, and not ended by it. */
  readonly always?: boolean;
  /** From then on it has `lingerMs` to end by itself. */
  readonly doneWhen?: () => boolean;
}

/** In a process group of its own, so that all of it can be ended. */
function execute(
  command: string,
  args: readonly string[],
  options: ExecuteOptions = {},
): Promise<{ code: number; output: string; killed: boolean }> {
  if (stop.aborted && options.always !== true) return Promise.resolve({ code: 130, output: '', killed: false });
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: projectDir,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', options.show ? 'inherit' : 'pipe', options.show ? 'inherit' : 'pipe'],
      detached: true,
    });
    let output = '';
    let killed = false;
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text) => (output += text));
    const interrupt = (): void => {
      signalGroup(child, 'SIGINT');
      setTimeout(() => signalGroup(child, 'SIGKILL'), 30_000).unref();
    };
    if (options.always !== true) stop.addEventListener('abort', interrupt);
    let doneAt = 0;
    const watch = setInterval(() => {
      if (options.doneWhen?.() !== true) return;
      if (doneAt === 0) doneAt = performance.now();
      if (performance.now() - doneAt < lingerMs) return;
      killed = true;
      signalGroup(child, 'SIGKILL');
    }, 1000);
    const finish = (): void => {
      clearInterval(watch);
      stop.removeEventListener('abort', interrupt);
    };
    child.on('error', (error) => {
      finish();
      reject(error);
    });
    child.on('close', (code) => {
      finish();
      resolve({ code: code ?? 1, output, killed });
    });
  });
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // it ended meanwhile
  }
}

const write = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const args = process.argv.slice(2);
const names = steps([]).map(({ name }) => name);
const chosen = args.length > 0 && args.every((arg) => names.includes(arg));
const patterns = chosen ? [] : args;
const selected = steps(patterns).filter(({ name }) =>
  chosen ? args.includes(name) : args.length === 0 || name === 'unit' || name === 'integration',
);
const total = { passed: 0, failed: 0, skipped: 0 };
const lines: string[] = [];
try {
  for (const { name, run } of selected) {
    if (stop.aborted) break;
    write(`── ${name}`);
    const start = performance.now();
    const { passed, failed, skipped, output } = await run();
    if (output !== undefined) write(output.trimEnd());
    const counts = passed + failed + skipped > 1 ? `, ${passed} passed, ${failed} failed, ${skipped} skipped` : '';
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    lines.push(`${failed === 0 ? '✓' : '✗'} ${name} (${seconds} s${counts})`);
    write(lines.at(-1) ?? '');
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
write(`\n${lines.join('\n')}`);
if (stop.aborted) write('interrupted: not everything has run');
write(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
process.exitCode = stop.aborted ? 130 : total.failed > 0 || total.passed === 0 ? 1 : 0;
