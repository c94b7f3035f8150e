import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Target {
  /** Folder that Prometheus watches (`targets/*.json` of its configuration). It is created. */
  readonly dir: string;
  /** The work of the process, such as its stages: a successor has the same. */
  readonly work: string;
  /** Where /metrics is, `host:port`. */
  readonly address: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** The process in words of its own, such as pid and start time. */
  readonly owner: string;
  /** Whether the process with such words lives. */
  readonly isAlive: (owner: string) => Promise<boolean>;
}

/**
 * Tells a local Prometheus where this process serves /metrics, for as long as it lives. A process that is killed leaves its file behind, and
 * so becomes a target that does not answer: MillraceProcessDown alerts on it. Its successor, a process of the same work, takes its place: at the same
 * port the same file, at another port it removes the file of one dead process.
 */
export async function announceTarget(target: Target): Promise<AsyncDisposable> {
  const { dir, address, labels = {}, owner } = target;
  await mkdir(dir, { recursive: true });
  const name = fileName(`${target.work}@${address.slice(address.lastIndexOf(':') + 1)}`);
  const [file, ownerFile] = [join(dir, `${name}.json`), join(dir, `${name}.owner`)];
  if (!(await readdir(dir)).includes(`${name}.json`)) await removeDead(target);
  await writeFile(ownerFile, owner);
  await writeFile(`${file}.tmp`, `${JSON.stringify([{ targets: [address], labels }])}\n`);
  await rename(`${file}.tmp`, file);
  return {
    [Symbol.asyncDispose]: async () => {
      await rm(file, { force: true });
      await rm(ownerFile, { force: true });
    },
  };
}

/** Removes the files of one dead process of the same work, if there is any. */
async function removeDead({ dir, work, isAlive }: Target): Promise<void> {
  const before = `${fileName(`${work}@`)}`;
  for (const each of await readdir(dir)) {
    if (!each.startsWith(before) || !/^\d+\.owner$/.test(each.slice(before.length))) continue;
    const ownerFile = join(dir, each);
    if (await isAlive(await readFile(ownerFile, 'utf8').catch(() => ''))) continue;
    await rm(ownerFile.replace(/owner$/, 'json'), { force: true });
    await rm(ownerFile, { force: true });
    return;
  }
}

function fileName(text: string): string {
  return text.replaceAll(/[^\w.-]/g, '_');
}
