import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Target {
  /** Folder that Prometheus watches (`targets/*.json` of its configuration). It is created. */
  readonly dir: string;
  /** Unique among the processes of the stack; names the file. */
  readonly id: string;
  /** Where /metrics is, `host:port`. */
  readonly address: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/**
 * Tells a local Prometheus where this process serves /metrics, for as long as it lives. A process that is killed leaves its file behind, and
 * so becomes a target that does not answer: that is what MillraceProcessDown alerts on.
 */
export async function announceTarget(target: Target): Promise<AsyncDisposable> {
  const file = join(target.dir, `${target.id.replaceAll(/[^\w.-]/g, '_')}.json`);
  await mkdir(target.dir, { recursive: true });
  const groups = [{ targets: [target.address], labels: target.labels ?? {} }];
  await writeFile(`${file}.tmp`, `${JSON.stringify(groups)}\n`);
  await rename(`${file}.tmp`, file);
  return { [Symbol.asyncDispose]: () => rm(file, { force: true }) };
}
