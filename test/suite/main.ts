/**
 * What `npm test` runs: every check, none skipped because another one failed. The last line is `N passed, N failed`.
 *
 *   npm test                      everything
 *   npm test -- lint types        only these steps
 *   npm test -- parquet           only test files whose path matches
 *
 * Property tests draw the same cases in every run, so that one run says of a change what the next would say; other cases are those of
 * `npm run soak -- properties`.
 */
import { untilSignal } from '../../cli/terminal/signals.ts';
import { failure, labelled, lastLine, lineOf, type StepResult, totalOf } from './report.ts';
import { Stacks } from './stacks.ts';
import { choices, lanes, type Step } from './steps.ts';

/** The bootstrap, which waits for this process as long as it lives. */
const parent = process.ppid;
const orphaned = new AbortController();
setInterval(() => {
  if (process.ppid !== parent) orphaned.abort();
}, 1000).unref();
const stop = AbortSignal.any([untilSignal(), orphaned.signal]);
const write = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const args = process.argv.slice(2);
const isChoice = (arg: string): boolean => choices.some((choice) => choice === arg);
const named = args.length > 0 && args.every(isChoice);
const patterns = named ? [] : args;
const isWanted = ({ choice }: Step): boolean =>
  named ? args.includes(choice) : args.length === 0 || ['unit', 'integration'].includes(choice);

const results: StepResult[] = [];

/** One step after the other. */
async function runLane(steps: readonly Step[], width: number): Promise<void> {
  for (const { name, run } of steps) {
    if (stop.aborted) break;
    const onLine = labelled(name, width, write);
    const begun = performance.now();
    const outcome = await run({ onLine, signal: stop, group: stacks.group });
    for (const line of outcome.output?.trimEnd().split('\n') ?? []) onLine(line);
    const result = { name, seconds: (performance.now() - begun) / 1000, outcome };
    results.push(result);
    onLine(lineOf(result));
  }
}

const stacks = new Stacks();
try {
  const chosen = lanes({ patterns, stacks })
    .map((steps) => steps.filter(isWanted))
    .filter(({ length }) => length > 0);
  const width = Math.max(...chosen.flat().map(({ name }) => name.length));
  await Promise.all(chosen.map((steps) => runLane(steps, width)));
} finally {
  await stacks.end().catch((error: Error) => {
    results.push({ name: 'stacks', seconds: 0, outcome: failure(`not all could be stopped: ${error.message}`) });
  });
}
const total = totalOf(results);
write(`\n${results.map(lineOf).join('\n')}`);
if (stop.aborted) write('interrupted: not everything has run');
write(lastLine(total));
process.exitCode = stop.aborted ? 130 : total.failed > 0 || total.passed === 0 ? 1 : 0;
