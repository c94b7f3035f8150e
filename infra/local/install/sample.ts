/** Input of the demo: real trades from a jar on Maven Central. */
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MillraceError } from '../../../core/base/errors.ts';
import { minimumJava } from '../parts.ts';
import { type Host, runCommand } from './command.ts';
import { findJava } from './java.ts';
import { ensurePom } from './maven.ts';

const csv = 'bitstamp_trades_from_20131125_usd.csv';

/** @returns the CSV file, unpacked in the cache. @throws MillraceError TOOL_MISSING, INSTALL_FAILED */
export async function ensureSample(options: {
  readonly host: Host;
  readonly note?: (text: string) => void;
  readonly signal?: AbortSignal;
}): Promise<string> {
  const { host, note, signal } = options;
  const java = await findJava(minimumJava, host.env);
  const folder = await ensurePom({
    host,
    name: 'sample',
    pom: join(import.meta.dirname, '..', 'poms', 'sample.xml'),
    javaHome: java.home,
    ...(note === undefined ? {} : { note }),
    signal,
  });
  const file = join(folder, csv);
  const there = await access(file).then(
    () => true,
    () => false,
  );
  if (there) return file;
  const jar = (await readdir(folder)).find((name) => name.endsWith('.jar'));
  if (jar === undefined) throw new MillraceError('INSTALL_FAILED', 'Maven brought no jar with the sample trades');
  await runCommand(join(java.home, 'bin', 'jar'), ['xf', jar, csv], { cwd: folder, env: host.env, signal });
  return file;
}
