import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseSource, readSources, type SourceFile } from './imports.ts';
import { violations } from './rules.ts';

const root = join(import.meta.dirname, '../..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  name: string;
  dependencies: Record<string, string>;
};
const shipped = new Set([...Object.keys(manifest.dependencies), manifest.name]);
const folders = [
  ...['schemas', 'core', 'connectors', 'processors', 'sinks', 'proof', 'storage', 'gateway', 'infra', 'cli'],
  ...['test', 'bench'],
];

function program(files: Readonly<Record<string, string>>): ReadonlyMap<string, SourceFile> {
  return new Map(Object.entries(files).map(([path, text]) => [path, parseSource(path, text)]));
}

test('imports of the repository point one way and have no cycles', () => {
  const sources = new Map(
    readSources(
      root,
      folders.filter((folder) => existsSync(join(root, folder))),
    ),
  );
  for (const file of ['index.ts', 'entries/testing.ts']) {
    sources.set(file, parseSource(file, readFileSync(join(root, file), 'utf8')));
  }
  expect(sources.size).toBeGreaterThan(100);
  expect(violations(sources, shipped)).toEqual([]);
});

describe('planted violations are found', () => {
  const ok = 'export const a = 1;';

  test('a cycle made of types only', () => {
    const files = {
      'core/a.ts': "import type { B } from './b.ts'; export type A = B;",
      'core/b.ts': "export type B = import('./c.ts').C;",
      'core/c.ts': "export type { A as C } from './a.ts';",
    };
    expect(violations(program(files), shipped)).toEqual([expect.stringContaining('circle')]);
    expect(violations(program({ ...files, 'core/c.ts': 'export type C = 1;' }), shipped)).toEqual([]);
  });

  test('a cycle through a dynamic import, and a file that imports itself', () => {
    const files = {
      'core/a.ts': "export const b = () => import('./b.ts');",
      'core/b.ts': "export * from './a.ts';",
      'core/self.ts': "import './self.ts';",
    };
    expect(violations(program(files), shipped)).toHaveLength(2);
  });

  test.each([
    ['core/a.ts', '../storage/a.ts', 'core imports a sibling'],
    ['schemas/a.ts', '../core/a.ts', 'schemas import the engine'],
    ['storage/a.ts', '../sinks/parquet/a.ts', 'a sibling imports a sibling'],
    ['infra/local/a.ts', '../../cli/a.ts', 'a sibling imports the composition root'],
    ['processors/anomaly/a.ts', '../ohlcv/a.ts', 'a processor imports a processor'],
    ['core/a.ts', '../test/a.ts', 'the engine imports a test'],
    ['core/a.ts', '../index.ts', 'the engine imports the public interface'],
  ])('%s imports %s: %s', (path, specifier) => {
    const target = specifier.replace(/^(\.\.\/)+/, path.startsWith('processors') ? 'processors/' : '');
    const files = program({ [path]: `import type { a } from '${specifier}';`, [target]: ok });
    expect(violations(files, shipped)).toEqual([`${path} may not import ${target}`]);
  });

  test('but not of what lies beside the processors for all of them, which imports none of them itself', () => {
    const shared = { 'processors/ohlcv/a.ts': "import '../trade.ts';", 'processors/trade.ts': ok };
    expect(violations(program(shared), shipped)).toEqual([]);
    const back = { 'processors/ohlcv/a.ts': ok, 'processors/trade.ts': "import './ohlcv/a.ts';" };
    expect(violations(program(back), shipped)).toEqual(['processors/trade.ts may not import processors/ohlcv/a.ts']);
  });

  test('a wrapped package outside its folder', () => {
    const text = "import type { Kafka } from 'kafkajs'; import avro from 'avsc';";
    expect(violations(program({ 'storage/a.ts': text }), shipped)).toHaveLength(2);
    expect(violations(program({ 'core/kafka/a.ts': text }), shipped)).toEqual([expect.stringContaining('avsc')]);
  });

  test('fast-check past the seed of the run, in tests and benches too', () => {
    const text = "import fc from 'fast-check';";
    for (const path of ['core/a.test.ts', 'test/a.test.ts', 'bench/a.ts']) {
      expect(violations(program({ [path]: text }), shipped)).toEqual([
        expect.stringContaining('test/support/property.ts'),
      ]);
    }
    expect(violations(program({ 'test/support/property.ts': text }), shipped)).toEqual([]);
    expect(violations(program({ 'test/a.test.ts': "import 'kafkajs';" }), shipped)).toEqual([]);
  });

  test('a development tool in code that ships', () => {
    expect(violations(program({ 'cli/a.ts': "import 'testcontainers';" }), shipped)).toHaveLength(1);
    expect(violations(program({ 'cli/a.test.ts': "import 'testcontainers';" }), shipped)).toEqual([]);
    expect(
      violations(program({ 'cli/a.ts': "import type { StartedTestContainer } from 'testcontainers';" }), shipped),
    ).toEqual([]);
  });

  test('the environment, an exit or a signal outside cli', () => {
    const text = "process.env['A']; process.on('SIGINT', () => process.exit(1));";
    expect(violations(program({ 'core/a.ts': text }), shipped)).toHaveLength(3);
    expect(violations(program({ 'cli/a.ts': text }), shipped)).toEqual([]);
  });

  test('an import of a file that is not there', () => {
    expect(violations(program({ 'core/a.ts': "import './b.ts';" }), shipped)).toHaveLength(1);
  });

  test('also in a file that disposes asynchronously', () => {
    const text = "await using a = open(); using b = a; import type { C } from '../cli/c.ts';";
    expect(violations(program({ 'core/a.ts': text, 'cli/c.ts': ok }), shipped)).toHaveLength(1);
  });
});
