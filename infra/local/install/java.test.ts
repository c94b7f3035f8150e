import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { findJava } from './java.ts';

const root = mkdtempSync(join(tmpdir(), 'millrace-java-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A JDK folder with a fake `java` that prints this version to standard error, like a real one. */
function jdk(folder: string, says: string): string {
  const home = join(root, folder);
  mkdirSync(join(home, 'bin'), { recursive: true });
  writeFileSync(join(home, 'bin/java'), `#!/bin/sh\necho '${says}' >&2\n`);
  chmodSync(join(home, 'bin/java'), 0o755);
  return home;
}
const openjdk = (version: string): string => `openjdk version "${version}" 2025-01-21`;

const old = jdk('old', openjdk('17.0.15'));
const named = jdk('named', openjdk('21'));
const path = jdk('path', openjdk('22.0.1'));
jdk('jvm/a-23', openjdk('23.0.2'));
jdk('jvm/b-25', openjdk('25-ea'));
jdk('jvm/c-11', openjdk('11.0.2'));
const jvm = join(root, 'jvm');
const PATH = join(path, 'bin');

describe('a JDK is found', () => {
  test('through JAVA_HOME before the PATH', async () => {
    expect(await findJava(21, { JAVA_HOME: named, PATH }, [jvm])).toMatchObject({ home: named, major: 21 });
  });

  test('on the PATH before the usual folders', async () => {
    expect(await findJava(21, { PATH }, [jvm])).toMatchObject({ home: path, major: 22 });
  });

  test('on the PATH when JAVA_HOME is too old, empty, or leads nowhere', async () => {
    for (const JAVA_HOME of [old, '', join(root, 'nowhere')]) {
      expect(await findJava(21, { JAVA_HOME, PATH }, [jvm])).toMatchObject({ home: path });
    }
  });

  test('in the usual folders, the newest, when that on the PATH is too old', async () => {
    const found = await findJava(21, { PATH: join(old, 'bin') }, [join(root, 'nowhere'), jvm]);
    expect(found).toMatchObject({ home: join(jvm, 'b-25'), major: 25, command: join(jvm, 'b-25', 'bin/java') });
  });

  test('never when it cannot tell its version', async () => {
    jdk('broken/d', 'Segmentation fault');
    const found = findJava(21, { PATH: '' }, [join(root, 'broken')]);
    await expect(found).rejects.toMatchObject({ code: 'TOOL_MISSING', message: expect.stringContaining('found none') });
  });
});

test('a missing JDK is one line that names what was found instead, and a remedy', async () => {
  jdk('ancient/e', 'java version "1.8.0_392"');
  const error: unknown = await findJava(21, { JAVA_HOME: old, PATH: '' }, [join(root, 'ancient')]).catch((e) => e);
  expect(error).toMatchObject({
    code: 'TOOL_MISSING',
    message: `the stack needs a JDK 21 or newer; found Java 17 in ${old}, Java 8 in ${join(root, 'ancient/e')}`,
    remedy: expect.stringContaining('JAVA_HOME'),
  });
});
