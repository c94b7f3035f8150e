/** The composition root: it registers the commands, prints errors and sets the exit code. */
import { Command, CommanderError } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { register as registerBackfill } from './commands/capture/backfill.ts';
import { register as registerConnectors } from './commands/capture/connectors.ts';
import { register as registerLoad } from './commands/capture/load.ts';
import { register as registerConfig } from './commands/local/config.ts';
import { register as registerDb } from './commands/local/db.ts';
import { register as registerDemo } from './commands/local/demo.ts';
import { register as registerSchemas } from './commands/local/schemas.ts';
import { register as registerStack } from './commands/local/stack.ts';
import { register as registerTopics } from './commands/local/topics.ts';
import { register as registerDead } from './commands/processing/dead.ts';
import { register as registerDeploy } from './commands/processing/deploy.ts';
import { register as registerNew } from './commands/processing/new.ts';
import { register as registerOffsets } from './commands/processing/offsets.ts';
import { register as registerRebuild } from './commands/processing/rebuild.ts';
import { register as registerRules } from './commands/processing/rules.ts';
import { register as registerRun } from './commands/processing/run.ts';
import { register as registerState } from './commands/processing/state.ts';
import { register as registerTask } from './commands/processing/task.ts';
import { register as registerCandles } from './commands/proof/candles.ts';
import { register as registerFeatures } from './commands/proof/features.ts';
import { register as registerReplay } from './commands/proof/replay.ts';
import { register as registerStatus } from './commands/proof/status.ts';
import { register as registerTrace } from './commands/proof/trace.ts';
import { register as registerVerify } from './commands/proof/verify.ts';
import { register as registerArchive } from './commands/storage/archive.ts';
import { register as registerCompact } from './commands/storage/compact.ts';
import { register as registerHotStore } from './commands/storage/hot-store.ts';
import { register as registerRepair } from './commands/storage/repair.ts';
import { printError } from './terminal/print.ts';
import { explained } from './terminal/system-error.ts';

// A reader that closes the output early, such as head, is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

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

for (const register of [
  registerDemo,
  registerStack,
  registerConfig,
  registerArchive,
  registerCompact,
  registerCandles,
  registerFeatures,
  registerHotStore,
  registerDb,
  registerConnectors,
  registerBackfill,
  registerTopics,
  registerVerify,
  registerTrace,
  registerRun,
  registerNew,
  registerTask,
  registerDead,
  registerOffsets,
  registerRules,
  registerState,
  registerRebuild,
  registerRepair,
  registerReplay,
  registerDeploy,
  registerSchemas,
  registerLoad,
  registerStatus,
]) {
  register(program);
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode;
  } else {
    printError(explained(error), program.opts<{ debug?: boolean }>().debug === true);
    process.exitCode = 1;
  }
}
