/**
 * Takes down what a killed run leaves. Its standard input is a pipe from the run, which tells of its process groups, one a line: `+pid`, `-pid`,
 * and `done` at its end. However the run ends, the system closes the pipe: without `done` its groups are killed and its stacks removed.
 *
 *   node guard.ts <folder of the run> <pid of the run>
 */
import { createInterface } from 'node:readline';
import { removeAll } from './stacks.ts';

const [dir = '', pid = ''] = process.argv.slice(2);
const groups = new Set<number>();
let done = false;

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'done') done = true;
  else if (line.startsWith('+')) groups.add(Number(line.slice(1)));
  else groups.delete(Number(line.slice(1)));
}
if (!done) {
  for (const group of groups) {
    if (!(group > 1)) continue; // 0 and 1 mean other processes than ours
    try {
      process.kill(-group, 'SIGKILL');
    } catch {
      // it ended with the run
    }
  }
  await removeAll(dir, Number(pid));
}
