import type { Command } from 'commander';
import { Registry } from '../../core/avro/registry.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import type { Check } from '../../proof/report.ts';
import { loadConfig } from '../config.ts';
import { printJson } from '../print.ts';
import { verify } from '../verify.ts';

export function register(program: Command): void {
  program
    .command('verify')
    .description('prove that candles and archive equal Postgres; exits with 1 on any difference')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }, command: Command) => {
      const config = loadConfig(command);
      await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: config.kafka.clientId });
      await using schemas = new Registry({ url: config.registry.url });
      const { checks, ok } = await verify(config, log, schemas);
      if (options.json === true) printJson({ ok, checks });
      else printChecks(checks);
      if (!ok) process.exitCode = 1;
    });
}

export function printChecks(checks: readonly Check[]): void {
  for (const { name, subject, differences, examples, seconds } of checks) {
    process.stdout.write(
      `${differences === 0 ? '✓' : '✗'} ${name}: ${subject}, ${differences} differences (${seconds.toFixed(1)} s)\n`,
    );
    for (const example of examples) process.stdout.write(`    ${example}\n`);
    if (differences > examples.length) process.stdout.write(`    … and ${differences - examples.length} more\n`);
  }
}
