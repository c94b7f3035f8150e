/** `millrace db`: the schema of the source database. */
import type { Command } from 'commander';
import { migrateDatabase } from '../../capture/capture.ts';
import { loadConfig } from '../../settings/config.ts';

export function register(program: Command): void {
  program
    .command('db')
    .description('the schema of the source database')
    .command('migrate')
    .description('apply new migrations of infra/sql, and set the capture role’s password if capture.password is set')
    .action(async (_options: unknown, command: Command) => {
      const applied = await migrateDatabase(loadConfig(command), { log: (line) => process.stdout.write(`${line}\n`) });
      if (applied.length === 0) process.stdout.write('the database is up to date\n');
    });
}
