import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { sharedClasses } from './classes.ts';
import type { Context } from './service.ts';

const scratch = mkdtempSync(join(tmpdir(), 'millrace-classes-'));
const folder = join(scratch, 'classes');
beforeEach(() => rmSync(folder, { recursive: true, force: true }));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const whole = Buffer.from([0xa8, 0xab, 0x0b, 0xf0, 1, 2, 3]);

function options(stack: string, jars = '/jars-1', home = '/jdk'): Promise<readonly string[]> {
  const installed = { java: { home, major: 25, command: '' } } as unknown as Context['installed'];
  return sharedClasses('kafka', jars, { host: { env: {}, cacheDir: scratch }, installed, dir: `/stacks/${stack}` });
}
const target = (args: readonly string[]): string => (args[0] ?? '').split('=')[1] ?? '';

test('the first start writes an archive at its end; two stacks never write the same file', async () => {
  const [one, two] = [await options('one'), await options('two')];
  expect(one[0]).toContain('-XX:ArchiveClassesAtExit=');
  expect(target(one)).not.toBe(target(two));
});

test('a whole archive is used by the next start of any stack, and the others go', async () => {
  const [one, two] = [target(await options('one')), target(await options('two'))];
  writeFileSync(one, whole);
  const third = await options('three');
  expect(third[0]).toMatch(/^-XX:SharedArchiveFile=.*\.jsa$/);
  writeFileSync(two, whole);
  expect(target(await options('one'))).toBe(target(third));
  expect(readdirSync(folder).map((file) => join(folder, file))).toEqual([target(third)]);
});

test('an archive whose writing was cut off is not used', async () => {
  writeFileSync(target(await options('one')), Buffer.alloc(7));
  expect((await options('two'))[0]).toContain('-XX:ArchiveClassesAtExit=');
});

test('other jars or another Java have an archive of their own', async () => {
  writeFileSync(target(await options('one')), whole);
  await options('one');
  expect((await options('one', '/jars-2'))[0]).toContain('ArchiveClassesAtExit');
  expect((await options('one', '/jars-1', '/other-jdk'))[0]).toContain('ArchiveClassesAtExit');
});
