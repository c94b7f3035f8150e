/** `npm run bench -- NAME […]`: each benchmark is a file of `cases/` with its own usage text. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

interface Benchmark {
  /** Usage on the first line, then what it measures. */
  readonly help: string;
  run(args: readonly string[]): Promise<void>;
}

const [name, ...args] = process.argv.slice(2);
const files = await readdir(join(import.meta.dirname, 'cases'));
const names = files.filter((file) => file.endsWith('.ts')).map((file) => file.slice(0, -3));
const load = async (each: string): Promise<Benchmark> => (await import(`./cases/${each}.ts`)) as Benchmark;

if (name === undefined || name === '--help' || name === '-h') {
  console.log('npm run bench -- NAME [arguments]\n');
  for (const each of names.sort()) console.log((await load(each)).help);
} else if (!names.includes(name)) {
  console.error(`error: no benchmark is called ${name}; there are ${names.sort().join(', ')}`);
  process.exitCode = 2;
} else if (args.includes('--help') || args.includes('-h')) {
  console.log((await load(name)).help);
} else {
  await (await load(name)).run(args);
}
