/** Runs the seeds that its argument asks for and writes the report, both as JSON. Started by `runApart`. */
import { type RunOptions, runSeeds } from './runs.ts';

const report = await runSeeds(JSON.parse(process.argv[2] ?? '') as RunOptions);
process.stdout.write(JSON.stringify(report));
