import { type Command, InvalidArgumentError } from 'commander';
import { MillraceError } from '../../core/errors.ts';
import type { Check } from '../../proof/report.ts';
import { loadConfig } from '../config.ts';
import { withLog } from '../log.ts';
import { printJson } from '../print.ts';
import { untilSignal } from '../signals.ts';
import { type Verification, verify } from '../verify.ts';

interface VerifyCommandOptions {
  readonly json?: boolean;
  /** Seconds. */
  readonly wait: number;
}

export function register(program: Command): void {
  program
    .command('verify')
    .description(
      'prove that candles and archive equal Postgres, beside live traffic too; exits with 1 on any difference',
    )
    .option('--wait <seconds>', 'longest wait for the stages to take what Postgres shows', seconds, 60)
    .option('--json', 'print JSON')
    .action(async (options: VerifyCommandOptions, command: Command) => {
      const config = loadConfig(command);
      const json = options.json === true;
      const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted; nothing is said about the data'));
      const result = await withLog(config, (log, schemas) =>
        verify(config, log, schemas, {
          waitMs: options.wait * 1000,
          onWait: waitLines(),
          onCheck: (check) => {
            if (!json) printChecks([check]);
          },
          signal,
        }),
      );
      if (json) printJson(result);
      else printBehind(result);
      if (!result.ok) process.exitCode = 1;
    });
}

export function printChecks(checks: readonly Check[]): void {
  for (const { name, subject, differences, examples, seconds, skipped } of checks) {
    if (skipped === true) {
      process.stdout.write(`· ${name}: skipped, ${subject}\n`);
      continue;
    }
    process.stdout.write(
      `${differences === 0 ? '✓' : '✗'} ${name}: ${subject}, ${differences} differences (${seconds.toFixed(1)} s)\n`,
    );
    for (const example of examples) process.stdout.write(`    ${example}\n`);
    if (differences > examples.length) process.stdout.write(`    … and ${differences - examples.length} more\n`);
  }
}

function printBehind({ behind }: Verification): void {
  for (const { name, topic, offsets } of behind) {
    process.stdout.write(
      `· ${name} does not run and has ${offsets} offsets of ${topic} to go: it was compared up to there\n`,
    );
  }
}

/** On standard error, each line once: what is waited for does not change often. */
function waitLines(): (text: string) => void {
  let last = '';
  let saidMs = 0;
  return (text) => {
    const now = performance.now();
    if (text === last || now - saidMs < 1_000) return;
    [last, saidMs] = [text, now];
    process.stderr.write(`  ${text}\n`);
  };
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 86_400)) throw new InvalidArgumentError('seconds, more than 0');
  return value;
}
