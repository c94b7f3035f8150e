#!/usr/bin/env node
/** The composition root: the only reader of signals and the only place that exits. */
import { Command, CommanderError } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { register as registerConnectors } from './commands/connectors.ts';
import { register as registerDb } from './commands/db.ts';
import { register as registerLoad } from './commands/load.ts';
import { register as registerRun } from './commands/run.ts';
import { register as registerSchemas } from './commands/schemas.ts';
import { register as registerTopics } from './commands/topics.ts';
import { printError } from './print.ts';

const program = new Command('millrace')
  .description(
    'CDC and stream processing for market data: Postgres to Kafka to candles, anomalies and Parquet, exact and provable',
  )
  .version(packageJson.version)
  .option('--stack <name>', 'local stack to use (default: dev, or MILLRACE_STACK)')
  .option('--debug', 'print stack traces with errors')
  .configureHelp({ showGlobalOptions: true })
  .showSuggestionAfterError()
  .exitOverride();

for (const register of [registerDb, registerConnectors, registerTopics, registerRun, registerSchemas, registerLoad]) {
  register(program);
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode;
  } else {
    printError(error, program.opts<{ debug?: boolean }>().debug === true);
    process.exitCode = 1;
  }
}
