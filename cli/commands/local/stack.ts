/** `millrace up | down | logs | doctor | setup`: the local stack. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { Config } from '../../../core/base/config.ts';
import { isError, MillraceError } from '../../../core/base/errors.ts';
import { maskText } from '../../../core/base/secrets.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { type DoctorFinding, runDoctor } from '../../../infra/local/machine/doctor.ts';
import { stopStack } from '../../../infra/local/stack.ts';
import { tailOf } from '../../../infra/local/start.ts';
import { captureHint } from '../../capture/hint.ts';
import { sourceRows } from '../../capture/source/doctor.ts';
import { offsetRetentionDays, offsetRetentionWarning } from '../../run/retention.ts';
import { cacheDir, defaultStack, loadConfig, stackDir, stackName, stackNames } from '../../settings/config.ts';
import { setUp } from '../../stack/setup.ts';
import { attach, stackOptions, type UpOptions, up } from '../../stack/stack.ts';
import { wholeNumber } from '../../terminal/options.ts';
import { patiently } from '../../terminal/patience.ts';
import { printJson, printTable } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

export function register(program: Command): void {
  program
    .command('up')
    .description('install missing parts, start the local stack and set it up; harmless on a running stack')
    .addOption(
      new Option('--with <what>', 'also start monitoring: Prometheus, and Alertmanager if it is on the PATH').choices([
        'monitoring',
      ]),
    )
    .addOption(
      new Option(
        '--brokers <count>',
        'brokers of a new stack; with 3, each topic has three replicas (default: 1)',
      ).choices(['1', '3']),
    )
    .action(async (options: { with?: string; brokers?: string }, command: Command) => {
      const { brokers } = options;
      const wanted = brokers === undefined ? {} : { brokers: Number(brokers) };
      await runUp(stackName(command), { monitoring: options.with === 'monitoring', ...wanted });
    });

  program
    .command('down')
    .description('stop the local stack; only processes that it started itself')
    .option('--wipe', 'also remove its data, logs and passwords; asks first on a terminal')
    .option('--yes', 'with --wipe: do not ask')
    .action(async (options: { wipe?: boolean; yes?: boolean }, command: Command) => {
      const name = stackName(command);
      if (!existsSync(stackDir(name))) {
        say(`there is no stack ${name}; stacks here: ${stackNames().join(', ') || 'none'}`);
        return;
      }
      if (options.wipe === true && options.yes !== true) await confirmWipe(name);
      const stopped = await stopStack({ ...stackOptions(name, say), wipe: options.wipe === true });
      say(stopped ? `stack ${name} is down` : `stack ${name} was not running`);
      if (options.wipe === true) say(`all files of stack ${name} are removed`);
    });

  program
    .command('logs')
    .description('print the last log lines of one part, or of all')
    .argument('[part]', 'postgres, kafka, kafka2, kafka3, connect, registry, minio, prometheus or alertmanager')
    .option('-n, --lines <count>', 'number of lines', '40')
    .option('-f, --follow', 'print new lines until Ctrl-C')
    .action(async (part: string | undefined, options: { lines: string; follow?: boolean }, command: Command) => {
      await showLogs(stackName(command), part, wholeNumber('--lines', options.lines, 0), options.follow === true);
    });

  program
    .command('doctor')
    .description(
      'check the requirements of the local stack on this machine, and those of the capture in Postgres if it runs',
    )
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }, command: Command) => {
      const name = stackName(command);
      const host = { env: process.env, cacheDir: cacheDir() };
      const machine = await runDoctor({ name, dir: stackDir(name), host });
      // A stack that was never started is not asked: its default ports belong to another stack.
      const started = name === defaultStack || stackNames().includes(name);
      printFindings([...machine, ...(started ? await askStack(loadConfig(command)) : [])], options.json === true);
    });

  program
    .command('setup')
    .description('set up running parts for Millrace: database, topics, registry, bucket, connectors')
    .option('--no-connectors', 'leave the connectors unchanged')
    .action(async (options: { connectors: boolean }, command: Command) => {
      const signal = untilSignal();
      const onRetry = (error: unknown): void => say(`tries again: ${error instanceof Error ? error.message : error}`);
      const config = loadConfig(command);
      await patiently({ signal, onRetry }, () => setUp(config, { log: say, connectors: options.connectors, signal }));
      say('set up');
    });
}

/** Asks on a terminal only. @throws MillraceError CONFIRMATION_NEEDED */
async function confirmWipe(name: string): Promise<void> {
  if (!process.stdin.isTTY) return;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(
      `This removes all data of stack ${name} in ${stackDir(name)}. Type its name to continue: `,
    );
    if (answer.trim() !== name) throw new MillraceError('CONFIRMATION_NEEDED', `stack ${name} is unchanged`);
  } finally {
    terminal.close();
  }
}

async function askStack(config: Config): Promise<readonly DoctorFinding[]> {
  return [...(await askKafka(config)), ...(await sourceRows(config))];
}

/** No findings if no broker answers: the stack is not up yet. */
async function askKafka({ kafka }: Config): Promise<readonly DoctorFinding[]> {
  try {
    await using admin = await TopicAdmin.open({ ...kafka, timeoutMs: 2_000 });
    const what = 'offsets of groups';
    const days = await offsetRetentionDays(admin);
    const warning = offsetRetentionWarning(days);
    if (warning !== undefined) return [{ what, state: 'warning', ...warning }];
    return [{ what, state: 'ok', found: `kept for ${Math.floor(days)} days while a pipeline is stopped` }];
  } catch (error) {
    if (isError(error, 'KAFKA_UNREACHABLE')) return [];
    throw error;
  }
}

async function runUp(name: string, options: Pick<UpOptions, 'monitoring' | 'brokers'>): Promise<void> {
  const begun = performance.now();
  const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted; started parts are stopped again'));
  const { stack, config } = await up(name, { log: say, ...options, signal });
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  const what = stack.startedNow.length === 0 ? 'is already running' : `is up after ${seconds} s`;
  say(`stack ${name} ${what}: Kafka ${config.kafka.brokers.join(', ')}, registry ${config.registry.url}, \
Connect ${config.connect.url}, S3 ${config.s3.endpoint}, Postgres ${maskText(config.postgres.url)}`);
  say(`passwords are in ${join(stackDir(name), 'stack.json')}`);
  const hint = await captureHint(config);
  if (hint !== undefined) say(hint);
}

async function showLogs(name: string, part: string | undefined, lines: number, follow: boolean): Promise<void> {
  const all = (await (await attach(name)).status()).filter(({ log }) => existsSync(log));
  const chosen = all.filter((each) => part === undefined || each.name === part);
  if (chosen.length === 0) {
    throw new MillraceError('CONFIG_INVALID', `stack ${name} has no log of ${part ?? 'any part'}`, {
      remedy: `There are logs of ${all.map((each) => each.name).join(', ') || 'nothing yet'}.`,
    });
  }
  const ends = chosen.map(({ log }) => statSync(log).size);
  for (const each of chosen) {
    if (chosen.length > 1) process.stdout.write(`==> ${each.name}: ${each.log}\n`);
    for (const line of await tailOf(each.log, lines)) process.stdout.write(`${line}\n`);
  }
  if (!follow) return;
  const signal = untilSignal();
  const prefix = chosen.length > 1;
  await Promise.all(chosen.map((each, i) => followLog(each.log, ends[i] ?? 0, prefix ? `${each.name}: ` : '', signal)));
}

async function followLog(log: string, from: number, prefix: string, signal: AbortSignal): Promise<void> {
  let at = from;
  while (!signal.aborted) {
    const size = existsSync(log) ? statSync(log).size : 0;
    if (size < at) at = 0;
    if (size > at) {
      let text = '';
      for await (const chunk of createReadStream(log, { start: at, end: size - 1, encoding: 'utf8' })) text += chunk;
      at = size;
      process.stdout.write(text.replace(/^(?=.)/gm, prefix));
    }
    await sleep(300, undefined, { signal }).catch(() => undefined);
  }
}

function printFindings(findings: readonly DoctorFinding[], json: boolean): void {
  if (json) printJson(findings);
  else {
    const marks = { ok: 'ok', warning: 'warn', failed: 'FAIL' } as const;
    printTable(
      ['', 'what', 'found'],
      findings.map(({ state, what, found }) => [marks[state], what, found]),
    );
    for (const { remedy, state } of findings) if (state !== 'ok' && remedy !== undefined) say(`remedy: ${remedy}`);
  }
  if (findings.some(({ state }) => state === 'failed')) process.exitCode = 1;
}
