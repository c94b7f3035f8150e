/** What users are told and given works as it is: the guide's example, and what `millrace new processor` writes. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { importProcessor } from '../../cli/processors/module.ts';
import { scaffoldProcessor } from '../../cli/processors/scaffold/processor.ts';
import { projectDir } from '../../cli/settings/config.ts';
import * as deprecated from '../../entries/deprecated.ts';
import * as joins from '../../entries/joins.ts';
import * as patterns from '../../entries/patterns.ts';
import * as runtime from '../../entries/runtime.ts';
import * as windows from '../../entries/windows.ts';
import * as millrace from '../../index.ts';
import { candle } from '../support/candle.ts';

let dir: string;
beforeEach(async () => {
  await mkdir(join(projectDir, '.millrace'), { recursive: true });
  dir = await mkdtemp(join(projectDir, '.millrace', 'processors-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const run = promisify(execFile);
const node = (...args: string[]) => run(process.execPath, args, { cwd: dir });

test("the guide's example, and its test, do what the guide says", async () => {
  const guide = await readFile(join(projectDir, 'docs/how-to/processing/write-a-processor.md'), 'utf8');
  const [code = '', example = ''] = [...guide.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, text]) => text);
  await writeFile(join(dir, 'quiet.ts'), code);
  const quiet = await importProcessor(join(dir, 'quiet.ts'));
  const body = example.replace(/await driver\.outputs\(.*$/m, "return await driver.outputs('market.quiet');");
  expect(body).not.toBe(example);
  await writeFile(
    join(dir, 'example.ts'),
    `import { Driver } from 'millrace/testing';\nexport async function example(quiet: any, candle: any) {\n${body}\n}\n`,
  );
  const { example: play } = (await import(join(dir, 'example.ts'))) as {
    example(processor: unknown, make: unknown): Promise<{ key: object; value: object }[]>;
  };
  const emitted = await play(quiet, candle);
  expect(emitted.map(({ key, value }) => ({ ...key, ...value }))).toEqual([
    { symbol: 'BTC/USD', quiet: true },
    { symbol: 'BTC/USD', quiet: false },
  ]);
});

describe('millrace new processor', () => {
  test('writes a processor whose own test passes', async () => {
    await node(join(projectDir, 'cli/main.ts'), 'new', 'processor', 'trade-count', '--dir', join(dir, 'made'));
    expect((await readdir(join(dir, 'made'))).sort()).toEqual([
      'fold.ts',
      'trade-count.avsc',
      'trade-count.test.ts',
      'trade-count.ts',
    ]);
    expect((await importProcessor(join(dir, 'made/trade-count.ts'))).name).toBe('trade-count');
    // As a project of a user's has it: with the runner that node brings along.
    for (const [file, text] of scaffoldProcessor({ name: 'trade-count', runner: 'node' })) {
      await writeFile(join(dir, 'made', file), text);
    }
    const { stdout } = await node('--test', '--test-reporter=tap', join(dir, 'made/trade-count.test.ts'));
    expect(stdout).toMatch(/^# pass 3$/m);
    expect(stdout).toMatch(/^# fail 0$/m);
  });

  test('writes a test that fails when the fold is wrong', async () => {
    for (const [file, text] of scaffoldProcessor({ name: 'broken', runner: 'node' })) {
      await writeFile(join(dir, file), text.replace('?? 0n) + trade_count', '?? 0n) + 1n'));
    }
    await expect(node('--test', join(dir, 'broken.test.ts'))).rejects.toThrow();
  });

  test('writes a processor that docs/start/first-processor.md changes: its new test fails first, then passes', async () => {
    const page = await readFile(join(projectDir, 'docs/start/first-processor.md'), 'utf8');
    const [added = '', line = ''] = [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, text]) => text);
    const files = new Map(scaffoldProcessor({ name: 'trade-count', runner: 'node' }));
    files.set('trade-count.test.ts', `${files.get('trade-count.test.ts')}\n${added}`);
    for (const [file, text] of files) await writeFile(join(dir, file), text);
    const run = () => node('--test', '--test-reporter=tap', join(dir, 'trade-count.test.ts'));
    await expect(run()).rejects.toMatchObject({ stdout: expect.stringMatching(/^# pass 3\n# fail 1$/m) });

    const fold = files.get('fold.ts') ?? '';
    const changed = fold.replace(/^ +if \(interval .*$/m, `      ${line.trim()}`);
    expect(changed).not.toBe(fold);
    await writeFile(join(dir, 'fold.ts'), changed);
    expect((await run()).stdout).toMatch(/^# pass 4\n# fail 0$/m);
  });

  test('overwrites nothing, and refuses what cannot be a name', async () => {
    await writeFile(join(dir, 'mine.ts'), 'precious');
    const main = join(projectDir, 'cli/main.ts');
    await expect(node(main, 'new', 'processor', 'a', '--dir', dir)).rejects.toThrow('is not empty');
    expect(await readFile(join(dir, 'mine.ts'), 'utf8')).toBe('precious');
    for (const name of ['Trade', '1st', 'a--b', '../up', '']) {
      expect(() => scaffoldProcessor({ name, runner: 'jest' })).toThrow("cannot be a processor's name");
    }
  });
});

describe('a module of the user', () => {
  test.each([
    ['no processor', 'export const answer = 42;'],
    [
      'several',
      "export const a = { name: 'a', version: '1', inputs: [], outputs: [], stores: [], create() {} }; export const b = { ...a, name: 'b' };",
    ],
  ])('that exports %s is refused', async (what, text) => {
    await writeFile(join(dir, 'module.ts'), text);
    await expect(importProcessor(join(dir, 'module.ts'))).rejects.toThrow(what);
  });

  test('that is not there, or cannot be loaded, is refused with the reason', async () => {
    await expect(importProcessor(join(dir, 'none.ts'))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await writeFile(join(dir, 'broken.ts'), "throw new Error('on purpose');");
    await expect(importProcessor(join(dir, 'broken.ts'))).rejects.toThrow('on purpose');
  });
});

describe('the public interface', () => {
  test.each([
    [
      'index.ts',
      ['MillraceError', 'defineProcessor', 'formatDecimal', 'formatTimestamp', 'formatTrimmed', 'isError'],
      ['parseDecimal', 'parseTimestamp', 'schemas'],
    ],
    [
      'entries/windows.ts',
      ['CalendarWindows', 'Plan', 'Sessions', 'Windowed', 'assign', 'calendar', 'dueAt', 'hopping', 'observe'],
      ['parseWindows', 'sessionStores', 'startProgress', 'tumbling', 'watermarkAt', 'windowStores'],
    ],
    ['entries/joins.ts', ['AsOfJoin', 'CapturedTable', 'Dedup', 'VersionedStore', 'byFields'], []],
    ['entries/patterns.ts', ['KeyedPattern', 'definePattern', 'patternStateSchema'], []],
    ['entries/runtime.ts', ['FoldHandler', 'KafkaLog', 'Metrics', 'Registry', 'Runner', 'openCodecs', 'wallClock'], []],
    ['entries/testing.ts', ['Driver', 'MemoryLog', 'MemorySchemas'], []],
  ])('%s is what it is meant to be: a change of it is a decision', async (file, names, more) => {
    const former = new Set(file === 'index.ts' ? Object.keys(deprecated) : []);
    const entry = (await import(join(projectDir, file))) as object;
    expect(Object.keys(entry).filter((name) => !former.has(name))).toEqual([...names, ...more].sort());
  });

  test('former names are there for one release, and are the same things', () => {
    const entries: Readonly<Record<string, unknown>> = { ...windows, ...joins, ...patterns, ...runtime };
    for (const [name, value] of Object.entries(deprecated)) {
      const now = { Versions: 'VersionedStore' }[name] ?? name;
      if (name !== 'Heap') expect(value).toBe(entries[now]);
      expect(millrace).toHaveProperty(name, value);
    }
    expect(Object.keys(deprecated)).toHaveLength(31);
  });
});

test('every part of the public interface is explained where it is defined', async () => {
  const unexplained: string[] = [];
  let seen = 0;
  const entries = ['windows', 'joins', 'patterns', 'runtime', 'testing'].map((name) => `entries/${name}.ts`);
  for (const file of ['index.ts', ...entries]) {
    const text = await readFile(join(projectDir, file), 'utf8');
    for (const [, list = '', source = ''] of text.matchAll(/export (?:type )?\{([^}]*)\} from '(\.\.?\/[^']+)'/g)) {
      const code = await readFile(join(projectDir, file, '..', source), 'utf8');
      for (const name of list.split(',').map((each) => each.replace('type ', '').trim())) {
        if (name === '' || source.includes('/gen/')) continue;
        seen++;
        const declared = new RegExp(`\\*/\\nexport (?:async )?(?:class|interface|function|const|type) ${name}\\b`);
        if (!declared.test(code)) unexplained.push(`${source}: ${name}`);
      }
    }
  }
  expect(seen).toBeGreaterThan(60);
  expect(unexplained).toEqual([]);
});
