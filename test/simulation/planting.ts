import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bug } from './bugs.ts';
import { type Report, runApart, scenarios } from './runs.ts';

const root = join(import.meta.dirname, '../..');
/** What a simulation needs of the sources. */
const needed = ['package.json', 'schemas', 'core', 'processors', 'proof', 'test/simulation'];

/** A copy of the sources in a temporary folder, for changing. */
export class Copy implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'millrace-planted-'));

  constructor() {
    for (const path of needed) cpSync(join(root, path), join(this.folder, path), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'));
  }

  /** Simulates with the bug in place, until it is found or the seeds are used up. */
  async withBug(bug: Bug | undefined, seeds: number): Promise<Report> {
    const undo = bug === undefined ? () => undefined : this.#plant(bug);
    try {
      return await runApart({
        scenarios: bug === undefined ? Object.keys(scenarios) : [bug.scenario],
        ...(bug?.climate === undefined ? {} : { climate: bug.climate }),
        from: 1,
        count: seeds,
        once: true,
        processes: 1,
        root: this.folder,
      });
    } finally {
      undo();
    }
  }

  /** @throws Error when the text that the bug replaces is not there exactly once. */
  #plant({ name, file, text, instead }: Bug): () => void {
    const path = join(this.folder, file);
    const before = readFileSync(path, 'utf8');
    const found = before.split(text).length - 1;
    if (found !== 1) throw new Error(`"${name}" cannot be planted: its text is ${found} times in ${file}`);
    writeFileSync(
      path,
      before.replace(text, () => instead),
    );
    return () => writeFileSync(path, before);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
