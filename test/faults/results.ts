/** Results of bursts: kept where a soak goes on from, and written as the page that is committed. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { projectDir, stacksHome } from '../../cli/settings/config.ts';
import { splitPage } from './archive/page.ts';
import type { Burst, Outcome } from './burst.ts';
import { bursts } from './bursts/all.ts';

const page = join(projectDir, 'docs', 'soak.md');
const stateFile = join(stacksHome(), 'soak.json');

interface Result extends Outcome {
  /** ISO, UTC. */
  readonly at: string;
}

export class Results {
  readonly #results: Map<number, Result>;

  private constructor(results: readonly Result[]) {
    this.#results = new Map(results.map((result) => [result.fault, result]));
  }

  static async open({ fresh = false } = {}): Promise<Results> {
    if (fresh) return new Results([]);
    try {
      return new Results(JSON.parse(await readFile(stateFile, 'utf8')) as Result[]);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Results([]);
      throw error;
    }
  }

  has(fault: number): boolean {
    return this.#results.has(fault);
  }

  async add(outcome: Outcome): Promise<void> {
    this.#results.set(outcome.fault, { ...outcome, at: new Date().toISOString() });
    const sorted = [...this.#results.values()].sort((a, b) => a.fault - b.fault);
    await mkdir(dirname(stateFile), { recursive: true });
    await writeFile(`${stateFile}.tmp`, `${JSON.stringify(sorted, null, 2)}\n`);
    await rename(`${stateFile}.tmp`, stateFile);
    const { bursts: before, archive } = splitPage(await readFile(page, 'utf8'));
    const now = render(sorted, before);
    await writeFile(page, archive === '' ? now : `${now}\n${archive}`);
  }

  /** A burst that could not be run to its end is a violation, too. */
  async fail(burst: Burst, error: unknown): Promise<void> {
    const violation = `the burst did not run to its end: ${error instanceof Error ? error.message : String(error)}`;
    await this.add({
      fault: burst.fault,
      title: burst.title,
      injections: 0,
      changes: 0,
      verified: [],
      violations: [violation],
      peakBytes: 0,
      peakWalBytes: 0,
      settleSeconds: 0,
      seconds: 0,
      seed: 0,
    });
  }

  count(bursts: readonly Burst[]): { passed: number; failed: number } {
    const found = bursts.flatMap(({ fault }) => this.#results.get(fault) ?? []);
    const failed = found.filter(({ violations }) => violations.length > 0).length;
    return { passed: found.length - failed, failed };
  }
}

/** @param before the page as it is: rows of bursts that were run elsewhere stay */
function render(results: readonly Result[], before: string): string {
  const lines = new Map([...before.matchAll(/^\| (\d+) \|.*$/gm)].map(([line, fault]) => [Number(fault), line]));
  for (const result of results) lines.set(result.fault, lineOf(result));
  const sorted = [...lines].sort(([a], [b]) => a - b).map(([, line]) => line);
  const without = bursts.filter(({ fault }) => !lines.has(fault)).map(({ fault }) => `${fault}`);
  const missing = without.length === 0 ? '' : `\nWithout a result so far: ${without.join(', ')}.\n`;
  const machine = `${cpus().length} cores, ${Math.round(totalmem() / 1024 ** 3)} GiB, Node ${process.versions.node}`;
  return `# Results of the soak

What \`npm run soak\` found, newest result of each burst; how it is done is in [faults.md](faults.md). Numbers of faults are that page's. A stack
of real parts and everything that reads it, on one machine: ${machine}.

Verified after each: I1 to I3 and I5 against the witness (fault 18: without it), then \`millrace verify\`; every process within 512 MiB. Settled is from the end of the load
until all of that agreed; memory is the largest resident size of a Millrace process, WAL the most that Postgres kept for the capture.

| fault | what was injected | times | changes committed | violations | settled s | memory MiB | WAL MiB | took s | date |
|---:|---|---:|---:|---|---:|---:|---:|---:|---|
${sorted.join('\n')}
${missing}`;
}

function lineOf(result: Result): string {
  const { fault, title, injections, changes, violations, settleSeconds, seconds, peakBytes, peakWalBytes, at } = result;
  const mib = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)}`;
  const cells = [
    `${fault}`,
    title,
    `${injections}`,
    changes.toLocaleString('en-US'),
    violations.length === 0 ? 'none' : `**${violations.join('; ').replaceAll('|', '/').replaceAll('\n', ' ')}**`,
    settleSeconds.toFixed(0),
    mib(peakBytes),
    mib(peakWalBytes),
    seconds.toFixed(0),
    at.slice(0, 10),
  ];
  return `| ${cells.join(' | ')} |`;
}
