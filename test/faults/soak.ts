/**
 * The long tests: bursts of faults on the real stack, the archive at length, the simulation and the property tests at length.
 *
 *   npm run soak                                    every burst that has no result yet
 *   npm run soak -- faults 2 8 9                    these bursts, again
 *   npm run soak -- faults --injections 100 --seed 5
 *   npm run soak -- faults --fresh                  forgets the results of before
 *   npm run soak -- faults 17 --keep                ends at a broken promise, and leaves the stack as it is then
 *   npm run soak -- archive --rows 2000000          the archive at length; --minutes ends its load earlier
 *   npm run soak -- simulation --seeds 10000        that many simulated schedules
 *   npm run soak -- simulation --seed 7             one of them, with its trace; docs/concepts/proof/simulation.md
 *   npm run soak -- properties --seeds 20           property tests, with that many seeds by chance
 *   npm run soak -- properties --seed 7             with this one, as a failure is reported
 *
 * Bursts follow each other on one stack of their own, fresh at the beginning, after a broken promise and after what the witness cannot follow, and removed at the end. Results are kept in `.millrace/soak.json` after each burst, so what was
 * interrupted goes on when it is started again; docs/reference/soak.md is written from them. Ends with an error when a promise was broken.
 */
import { parseArgs } from 'node:util';
import { stackOptions } from '../../cli/stack/stack.ts';
import { untilSignal } from '../../cli/terminal/signals.ts';
import { stopStack } from '../../infra/local/stack.ts';
import { soakProperties } from '../properties/soak.ts';
import { soakSimulation } from '../simulation/soak.ts';
import { soakArchive } from './archive/soak.ts';
import { runBurst } from './burst.ts';
import { bursts } from './bursts/all.ts';
import { Results } from './results.ts';

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    injections: { type: 'string' },
    seed: { type: 'string' },
    seeds: { type: 'string' },
    rows: { type: 'string' },
    minutes: { type: 'string' },
    scenario: { type: 'string' },
    stack: { type: 'string', default: 'soak' },
    fresh: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});

const defaultSeed = 20131125;

async function faults(numbers: readonly number[], signal: AbortSignal): Promise<boolean> {
  const unknown = numbers.filter((number) => !bursts.some(({ fault }) => fault === number));
  if (unknown.length > 0) {
    say(
      `error: there is no burst of fault ${unknown.join(', ')}; there are ${bursts.map(({ fault }) => fault).join(', ')}`,
    );
    return false;
  }
  const results = await Results.open({ fresh: values.fresh });
  const wanted = bursts.filter(({ fault }) => (numbers.length > 0 ? numbers.includes(fault) : !results.has(fault)));
  if (wanted.length < bursts.length && numbers.length === 0)
    say(`${bursts.length - wanted.length} bursts have a result already; --fresh forgets them`);
  const wipe = (): Promise<boolean> => stopStack({ ...stackOptions(values.stack), wipe: true });
  await wipe();
  const keep = (): false => {
    say(`The stack is kept; take it away with: npm run millrace -- down --wipe --stack ${values.stack}`);
    return false;
  };
  for (const [i, burst] of wanted.entries()) {
    if (signal.aborted) break;
    say(`── ${i + 1} of ${wanted.length}: fault ${burst.fault}, ${burst.title}`);
    // A stack keeps the number of brokers that it was made with.
    if (i > 0 && wanted[i - 1]?.brokers !== burst.brokers) await wipe();
    try {
      const outcome = await runBurst(burst, {
        stack: values.stack,
        seed: Number(values.seed ?? defaultSeed) + burst.fault,
        ...(values.injections === undefined ? {} : { injections: Number(values.injections) }),
        signal,
        note: (text) => say(`   ${text}`),
      });
      await results.add(outcome);
      say(`   ${outcome.violations.length === 0 ? '✓' : '✗'} ${outcome.seconds.toFixed(0)} s`);
      for (const violation of outcome.violations) say(`   ${violation}`);
      if (outcome.violations.length > 0 && values.keep) return keep();
      if (outcome.violations.length > 0 || burst.witnessed === false) await wipe();
    } catch (error) {
      if (signal.aborted) break;
      await results.fail(burst, error);
      say(`   ✗ ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      if (values.keep) return keep();
      await wipe();
    }
  }
  await wipe();
  const { passed, failed } = results.count(bursts);
  say(`${passed} bursts without a violation, ${failed} with one, of ${bursts.length}; see docs/reference/soak.md`);
  return failed === 0;
}

const signal = untilSignal(() => new Error('interrupted'));
const [part = 'faults', ...rest] = positionals;
const seeded = {
  ...(values.seed === undefined ? {} : { seed: Number(values.seed) }),
  ...(values.seeds === undefined ? {} : { seeds: Number(values.seeds) }),
};
const parts: Readonly<Record<string, () => Promise<boolean>>> = {
  faults: () => faults(rest.map(Number), signal),
  archive: () =>
    soakArchive({
      ...(values.rows === undefined ? {} : { rows: Number(values.rows) }),
      ...(values.minutes === undefined ? {} : { minutes: Number(values.minutes) }),
      ...{ stack: values.stack, seed: Number(values.seed ?? defaultSeed), signal, say },
    }),
  simulation: () => {
    const { scenario } = values;
    return soakSimulation({ ...seeded, ...(scenario === undefined ? {} : { scenario }), signal, say });
  },
  properties: () => soakProperties({ ...seeded, signal, say }),
};
const run = parts[part];
if (run === undefined) {
  say(`error: ${part} is nothing to soak: say ${Object.keys(parts).join(' or ')}`);
  process.exitCode = 1;
} else {
  const sound = await run();
  process.exitCode = signal.aborted ? 130 : sound ? 0 : 1;
}
