import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import type { Command } from 'commander';
import { MillraceError } from '../../../core/base/errors.ts';
import { scaffoldProcessor } from '../../processors/scaffold/processor.ts';
import { services } from '../../run/services.ts';
import { projectDir } from '../../settings/config.ts';
import { printJson } from '../../terminal/print.ts';

/** Group, state and topics use the name, so it must be new. */
const taken = Object.keys(services);

export function register(program: Command): void {
  const group = program.command('new').description('create your own processor');
  group
    .command('processor')
    .description('write a working processor to start from: declaration, pure fold, schema, and a passing test')
    .argument('<name>', 'lower-case letters, digits and dashes')
    .option('--dir <folder>', 'target folder; default: processors/<name>. Existing files are not overwritten')
    .option('--json', 'print JSON')
    .action(newProcessor);
}

function newProcessor(name: string, options: { dir?: string; json?: boolean }): void {
  if (taken.includes(name)) {
    throw new MillraceError('CONFIG_INVALID', `${name} is the name of a processor or sink of Millrace`, {
      remedy: `Choose a name of its own; taken are ${taken.join(', ')}.`,
    });
  }
  const dir = resolve(options.dir ?? join('processors', name));
  const isOurs = `${dir}${sep}`.startsWith(`${projectDir}${sep}`);
  const files = scaffoldProcessor({ name, runner: isOurs ? 'jest' : 'node' });
  if (existsSync(dir) && readdirSync(dir).length > 0) {
    throw new MillraceError('CONFIG_INVALID', `${dir} is not empty`, { remedy: 'choose another name, or --dir' });
  }
  mkdirSync(dir, { recursive: true });
  const written = [...files].map(([file, text]) => {
    writeFileSync(join(dir, file), text);
    return join(dir, file);
  });
  if (options.json === true) {
    printJson({ dir, files: written });
    return;
  }
  const here = (file: string): string => relative(process.cwd(), file) || '.';
  const module = here(join(dir, `${name}.ts`));
  const test = here(join(dir, `${name}.test.ts`));
  const run = isOurs
    ? `npx node --experimental-vm-modules node_modules/jest/bin/jest.js ${test}`
    : `node --test ${test}   (Node 24, in a package that depends on millrace)`;
  for (const file of written) process.stdout.write(`written  ${here(file)}\n`);
  process.stdout.write(
    `\nits test:    ${run}\nits topics:  millrace topics apply --module ${module}\nto run it:   millrace run --module ${module}\n`,
  );
}
