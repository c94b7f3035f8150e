/** Installed parts in the user's cache, keyed by their inputs: a version change reinstalls only that part. */
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface CachedFolder {
  /** Parent of all installed parts, shared by clones. */
  readonly cacheDir: string;
  readonly name: string;
  /** All inputs that decide the content: pom, versions, build flags. */
  readonly ingredients: readonly string[];
  /** Fills the empty folder. */
  readonly install: (folder: string) => Promise<void>;
}

const complete = '.complete';

export function folderOf({ cacheDir, name, ingredients }: Omit<CachedFolder, 'install'>): string {
  const hash = createHash('sha256').update(JSON.stringify(ingredients)).digest('hex').slice(0, 12);
  return join(cacheDir, `${name}-${hash}`);
}

export async function isCached(folder: string): Promise<boolean> {
  return access(join(folder, complete)).then(
    () => true,
    () => false,
  );
}

/**
 * Returns the cached folder and installs it if it is missing. Safe to interrupt and to run twice at once: the folder is filled under a
 * temporary name and appears by one rename.
 *
 * @returns path of the folder.
 */
export async function ensureCached(wanted: CachedFolder): Promise<string> {
  const folder = folderOf(wanted);
  if (await isCached(folder)) return folder;
  await mkdir(wanted.cacheDir, { recursive: true });
  const work = await mkdtemp(join(wanted.cacheDir, `.${wanted.name}-`));
  try {
    await wanted.install(work);
    await writeFile(join(work, complete), `${wanted.ingredients.join('\n')}\n`);
    await rename(work, folder).catch(async (error: NodeJS.ErrnoException) => {
      if (!(await isCached(folder))) throw error;
    });
    return folder;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
