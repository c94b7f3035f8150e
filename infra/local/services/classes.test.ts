import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { sharedClasses } from './classes.ts';
import type { Context } from './service.ts';

let cacheDir: string;
beforeEach(() => {
  cacheDir = mkdtempSync(join(tmpdir(), 'millrace-classes-'));
});
afterEach(() => rmSync(cacheDir, { recursive: true, force: true }));

const whole = Buffer.from([0xa8, 0xab, 0x0b, 0xf0, 1, 2, 3]);

async function option(dir: string, home = '/jdk'): Promise<string> {
  const installed = { java: { home, major: 25, command: `${home}/bin/java` } } as Context['installed'];
  const [first = ''] = await sharedClasses('kafka', '/jars', { host: { env: {}, cacheDir }, installed, dir });
  return first;
}
const fileOf = (flag: string): string => flag.slice(flag.indexOf('=') + 1);

test('the first start asks the JVM for an archive, each stack for one of its own', async () => {
  const [one, two] = [await option('/stack/one'), await option('/stack/two')];
  expect(one).toMatch(/^-XX:ArchiveClassesAtExit=.*\/classes\/kafka-\w+\.jsa\.\w+$/);
  expect(two).not.toBe(one);
});

test('an archive that is whole is used by the next start of any stack', async () => {
  writeFileSync(fileOf(await option('/stack/one')), whole);
  const used = await option('/stack/two');
  expect(used).toMatch(/^-XX:SharedArchiveFile=.*\/kafka-\w+\.jsa$/);
  expect(readdirSync(join(cacheDir, 'classes'))).toHaveLength(1);
  expect(await option('/stack/one')).toBe(used);
});

test('one that a JVM is still writing, or was killed over, is not', async () => {
  const file = fileOf(await option('/stack/one'));
  for (const half of [Buffer.alloc(0), Buffer.alloc(4096)]) {
    writeFileSync(file, half);
    expect(await option('/stack/two')).toMatch(/^-XX:ArchiveClassesAtExit=/);
  }
});

test('another JDK has an archive of its own', async () => {
  mkdirSync(join(cacheDir, 'classes'));
  writeFileSync(fileOf(await option('/stack/one')), whole);
  await option('/stack/one');
  expect(await option('/stack/one', '/other-jdk')).toMatch(/^-XX:ArchiveClassesAtExit=/);
});
