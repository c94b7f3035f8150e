import { join } from 'node:path';
import { cacheDir, projectDir } from '../../cli/settings/config.ts';
import { ensureCached } from '../../infra/local/install/cache.ts';
import { runCommand } from '../../infra/local/install/command.ts';

const packages = ['pyarrow==26.0.1', 'fastavro==1.12.1'];

export interface Written {
  readonly version: string;
  readonly rows: number;
  /** CPU time of one round, all threads. */
  readonly seconds: number;
  readonly bytes: number;
}

/**
 * Runs pyarrow: `rows` rewrites the rows of the folder's Parquet files, `changes` builds them from the same Avro records. Columns and codec
 * are the same. pip installs it once.
 *
 * @throws MillraceError INSTALL_FAILED
 */
export async function pyarrow(work: 'rows' | 'changes', folder: string, rounds: number): Promise<Written> {
  const { env } = process;
  const installed = await ensureCached({
    cacheDir: cacheDir(),
    name: 'pyarrow',
    ingredients: packages,
    install: async (target) => {
      await runCommand('python3', ['-m', 'pip', 'install', '--quiet', '--target', target, ...packages], { env });
    },
  });
  const script = join(projectDir, 'bench', 'peers', 'arrow', 'write.py');
  const said = await runCommand('python3', [script, work, folder, String(rounds)], {
    env: { ...env, PYTHONPATH: installed, OMP_NUM_THREADS: '1' },
  });
  return JSON.parse(said) as Written;
}
