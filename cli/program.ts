/** The composition root: the only reader of signals and the only place that exits. */
import { Command, CommanderError } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { register as registerArchive } from './commands/archive.ts';
import { register as registerBackfill } from './commands/backfill.ts';
import { register as registerCandles } from './commands/candles.ts';
import { register as registerCompact } from './commands/compact.ts';
import { register as registerConfig } from './commands/config.ts';
import { register as registerConnectors } from './commands/connectors.ts';
import { register as registerDb } from './commands/db.ts';
import { register as registerDead } from './commands/dead.ts';
import { register as registerDemo } from './commands/demo.ts';
import { register as registerDeploy } from './commands/deploy.ts';
import { register as registerFeatures } from './commands/features.ts';
import { register as registerHotStore } from './commands/hot-store.ts';
import { register as registerLoad } from './commands/load.ts';
import { register as registerNew } from './commands/new.ts';
import { register as registerOffsets } from './commands/offsets.ts';
import { register as registerRebuild } from './commands/rebuild.ts';
import { register as registerRepair } from './commands/repair.ts';
import { register as registerReplay } from './commands/replay.ts';
import { register as registerRules } from './commands/rules.ts';
import { register as registerRun } from './commands/run.ts';
import { register as registerSchemas } from './commands/schemas.ts';
import { register as registerStack } from './commands/stack.ts';
import { register as registerState } from './commands/state.ts';
import { register as registerStatus } from './commands/status.ts';
import { register as registerTask } from './commands/task.ts';
import { register as registerTopics } from './commands/topics.ts';
import { register as registerTrace } from './commands/trace.ts';
import { register as registerVerify } from './commands/verify.ts';
import { printError } from './print.ts';
import { explained } from './system-error.ts';

// A reader that has seen enough, such as head, is no error.
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
