/** Cost of the archive's list, by question. No broker: the records are in memory, in chunks as from a broker. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runtimeEnv, runtimeFlags } from '../../cli/demo/pipeline.ts';
import { projectDir } from '../../cli/settings/config.ts';
import type { Cost, Question } from '../listing/question.ts';

export const help = `bench listing [objects] [days]
  seconds, CPU seconds and memory of questions to a list of objects (default 1000000) over days (default 20), with Millrace's heap limit,
  compared with an array of all objects`;

const execute = promisify(execFile);

const questions: readonly (readonly [Question, string])[] = [
  ['list', 'all objects, in columns'],
  ['totals', 'files, rows and bytes of each day'],
  ['status', 'what millrace status asks'],
  ['day', "one day's objects, from its manifest"],
  ['newest', 'newest cut of each partition'],
];

export async function run(args: readonly string[]): Promise<void> {
  const [objects = '1000000', days = '20'] = args;
  const ask = async (question: Question, flags: readonly string[]): Promise<Cost> => {
    const script = join(projectDir, 'bench', 'listing', 'question.ts');
    const { stdout } = await execute(process.execPath, ['--expose-gc', ...flags, script, question, objects, days], {
      env: { ...process.env, ...runtimeEnv },
    });
    return JSON.parse(stdout) as Cost;
  };
  console.log(`${Number(objects).toLocaleString('en')} objects of ${days} days, ${runtimeFlags.join(' ')}`);
  const whole = await ask('array', ['--max-old-space-size=4096']);
  print('an array of all objects, with 4 GiB of heap', whole, whole);
  const within = await ask('array', runtimeFlags).catch(() => undefined);
  console.log(`the array with the heap above: ${within === undefined ? 'out of memory' : 'fits'}`);
  for (const [question, text] of questions) print(text, await ask(question, runtimeFlags), whole);
}

function print(text: string, { seconds, cpuSeconds, heapMib, peakMib, answer }: Cost, whole: Cost): void {
  const ratio = (whole.cpuSeconds / cpuSeconds).toFixed(1);
  const found = answer.toLocaleString('en');
  console.log(
    `${text}: ${seconds.toFixed(3)} s, ${cpuSeconds.toFixed(3)} CPU s (array: ${ratio} ×), ${heapMib.toFixed(0)} MiB of heap, ${peakMib.toFixed(0)} MiB more resident at most, ${found} found`,
  );
}
