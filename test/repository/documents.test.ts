import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Command } from 'commander';
import { Metrics } from '../../core/observability/metrics.ts';
import { allowed, core } from '../architecture/rules.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

async function documents(): Promise<[path: string, text: string][]> {
  const top = (await readdir(root)).filter((file) => file.endsWith('.md'));
  const deep = await Promise.all(
    ['docs', 'runbooks'].map(async (folder) =>
      (await readdir(join(root, folder), { recursive: true }))
        .filter((file) => file.endsWith('.md'))
        .map((file) => join(folder, file)),
    ),
  );
  const paths = [...top, ...deep.flat()];
  return Promise.all(
    paths.map(async (path): Promise<[string, string]> => [path, await readFile(join(root, path), 'utf8')]),
  );
}

describe('what documents and runbooks tell to type', () => {
  const program = new Command('millrace');

  beforeAll(async () => {
    const folder = join(root, 'cli/commands');
    for (const file of (await readdir(folder, { recursive: true })).filter((each) => /^[a-z-/]+\.ts$/.test(each))) {
      const { register } = (await import(join(folder, file))) as { register(program: Command): void };
      register(program);
    }
  });

  /** The words of `millrace a b …` that name no command; placeholders and options end the names. */
  function unknownCommand(words: readonly string[]): string | undefined {
    let at: Command = program;
    for (const word of words) {
      if (at.commands.length === 0 || !/^[a-z]+$/.test(word)) return undefined;
      const next = at.commands.find((command) => command.name() === word);
      if (next === undefined) return words.join(' ');
      at = next;
    }
    return undefined;
  }

  test('are commands that exist', async () => {
    const wrong: string[] = [];
    let seen = 0;
    for (const [path, text] of await documents()) {
      for (const [, command = ''] of text.matchAll(/`millrace ([a-z][^`]*)`/g)) {
        seen++;
        const unknown = unknownCommand(command.trim().split(/\s+/));
        if (unknown !== undefined) wrong.push(`${path}: millrace ${unknown}`);
      }
    }
    expect(seen).toBeGreaterThan(30);
    expect(wrong).toEqual([]);
  });

  test('and what remedies and messages of the code tell to type are commands that exist', async () => {
    const wrong: string[] = [];
    let seen = 0;
    for (const folder of ['cli', 'connectors', 'core', 'infra', 'processors', 'proof', 'sinks', 'storage']) {
      for (const file of await readdir(join(root, folder), { recursive: true })) {
        if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue;
        const text = await readFile(join(root, folder, file), 'utf8');
        for (const [, command = ''] of text.matchAll(/(?:[\w;,] \\?`|with: )millrace ([a-z][^`'"$;,:]*)/g)) {
          seen++;
          const unknown = unknownCommand(command.trim().split(/\s+/));
          if (unknown !== undefined) wrong.push(`${folder}/${file}: millrace ${unknown}`);
        }
      }
    }
    expect(seen).toBeGreaterThan(40);
    expect(wrong).toEqual([]);
  });

  test('and the page of commands lists every command, each once', async () => {
    const leaves = (command: Command, path: string): string[] =>
      command.commands.length === 0
        ? [path]
        : command.commands.flatMap((each) => leaves(each, `${path} ${each.name()}`));
    const text = await readFile(join(root, 'docs/reference/commands.md'), 'utf8');
    const listed = [...text.matchAll(/^\| `(millrace [a-z -]+)/gm)].map(([, words = '']) =>
      words.replace(/ -.*/, '').trim(),
    );
    // An argument that is no placeholder: the processor.
    const named = listed.map((words) => words.replace('rebuild ohlcv', 'rebuild'));
    expect(named.sort()).toEqual(leaves(program, 'millrace').sort());
  });

  test('and a command that does not exist is found out', () => {
    expect(unknownCommand(['connectors', 'repair'])).toBe('connectors repair');
    expect(unknownCommand(['topics', 'apply', '--json'])).toBeUndefined();
    expect(unknownCommand(['logs', 'PART'])).toBeUndefined();
  });
});

test('the page on metrics lists every metric, and none that does not exist', async () => {
  const text = await readFile(join(root, 'docs/reference/metrics.md'), 'utf8');
  const listed = [...text.matchAll(/`((?:millrace|cold_storage|kafka_connect|wal)_[a-z_]+)(?:\{[a-z,]+\})?`/g)];
  const metrics = new Metrics({ node: false }).registry.getMetricsAsArray().map(({ name }) => name);
  expect([...new Set(listed.map(([, name]) => name))].sort()).toEqual([...metrics].sort());
});

test('every link between documents leads to a file', async () => {
  const broken: string[] = [];
  for (const [path, text] of await documents()) {
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)[^)]*\)/g)) {
      await access(join(root, path, '..', target)).catch(() => broken.push(`${path}: ${target}`));
    }
  }
  expect(broken).toEqual([]);
});

test('the page on architecture has every folder with the imports that the rules allow', async () => {
  const text = await readFile(join(root, 'docs/architecture.md'), 'utf8');
  const shown = new Map<string, string>();
  for (const [, names = '', imports = ''] of text.matchAll(/^\| (\[`[^|]+) \| [^|]+ \| ([^|]+) \|$/gm)) {
    for (const [, name = ''] of names.matchAll(/\]\(\.\.\/([^)]+)\)/g)) shown.set(name, imports);
  }
  const folders = (await readdir(root, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && !/^(\.|node_modules$|docs$|runbooks$)/.test(entry.name))
    .map(({ name }) => name);
  expect(folders.filter((folder) => !shown.has(folder))).toEqual([]);
  for (const [name, others] of Object.entries(allowed)) {
    const imports = shown.get(name);
    if (imports === undefined && !folders.includes(name)) continue;
    const all = Object.keys(allowed).filter((each) => ![name, 'entries'].includes(each) && !each.endsWith('.ts'));
    const meant =
      imports === 'all above' ? all : [...(imports ?? '').matchAll(/`(\w+)`/g)].map(([, each = '']) => each);
    expect([name, meant.sort()]).toEqual([name, others.filter((each) => !each.endsWith('.ts')).sort()]);
  }
});

test('the page on architecture has every folder of core with what it may import', async () => {
  const text = await readFile(join(root, 'docs/architecture.md'), 'utf8');
  const shown = [...text.matchAll(/^\| \[`([a-z0-9-]+)`\]\(\.\.\/core\/[^)]+\) \| [^|]+ \| ([^|]+) \|$/gm)];
  const imports = shown.map(([, name = '', list = '']) => [
    name,
    [...list.matchAll(/`([a-z-]+)`/g)].map(([, each]) => each),
  ]);
  expect(Object.fromEntries(imports)).toEqual(core);
});

test('every page that code names is there', async () => {
  const missing: string[] = [];
  for (const folder of [
    'bench',
    'cli',
    'connectors',
    'core',
    'infra',
    'processors',
    'proof',
    'sinks',
    'storage',
    'test',
  ]) {
    for (const file of await readdir(join(root, folder), { recursive: true })) {
      if (!/\.(ts|mjs|sql|yml|json)$/.test(file)) continue;
      const text = await readFile(join(root, folder, file), 'utf8');
      for (const [page] of text.matchAll(/\b(?:docs|runbooks)\/[\w/-]+\.md\b/g)) {
        await access(join(root, page)).catch(() => missing.push(`${folder}/${file}: ${page}`));
      }
    }
  }
  expect(missing).toEqual([]);
});

/** The anchor that a heading gets: lower case, without punctuation, spaces as dashes. */
function anchorOf(heading: string): string {
  const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
  return text
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replace(/\s/g, '-');
}

test('every link to a heading names one that its page has', async () => {
  const pages = await documents();
  const anchors = new Map(
    pages.map(([path, text]) => {
      const headings = text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/^#+ (.*)$/gm);
      return [path, new Set([...headings].map(([, heading = '']) => anchorOf(heading)))];
    }),
  );
  const broken: string[] = [];
  let seen = 0;
  for (const [path, text] of pages) {
    for (const [, target = '', anchor = ''] of text.matchAll(/\]\((?!https?:|mailto:)([^)#]*)#([^)]+)\)/g)) {
      seen++;
      const page = target === '' ? path : join(path, '..', target);
      if (anchors.get(page)?.has(anchor) !== true) broken.push(`${path}: ${target}#${anchor}`);
    }
  }
  expect(seen).toBeGreaterThan(30);
  expect(broken).toEqual([]);
});

test('the index names every page of docs once', async () => {
  const text = await readFile(join(root, 'docs/README.md'), 'utf8');
  const named = [...text.matchAll(/\]\((?!https?:|\.\.)([^)#]+\.md)\)/g)].map(([, target = '']) => target);
  const pages = (await readdir(join(root, 'docs'), { recursive: true })).filter(
    (file) => file.endsWith('.md') && file !== 'README.md' && !/^adr.\d/.test(file),
  );
  expect(named.sort()).toEqual(pages.sort());
});

test('the glossary is in alphabetical order, each term once', async () => {
  const text = await readFile(join(root, 'docs/glossary.md'), 'utf8');
  const [, terms = '', verbs = ''] = text.split(/^## /m);
  for (const table of [terms, verbs]) {
    const names = [...table.matchAll(/^\| ([^|]+) \|/gm)].slice(1).map(([, name = '']) => name);
    expect(names.length).toBeGreaterThan(10);
    expect(names).toEqual([...new Set(names)].sort());
  }
});

test('every requirement is listed once, with a status', async () => {
  const text = await readFile(join(root, 'docs/reference/requirements.md'), 'utf8');
  const rows = [...text.matchAll(/^\| ([ASNTE]-\d\d[^|]*) \| ([^|]+) \|/gm)];
  const ids: string[] = [];
  for (const [, cell = '', status = ''] of rows) {
    expect(['delivered', 'partly', 'not built']).toContain(status);
    for (const part of cell.split(', ')) {
      const [, prefix = '', first, last = first] = /^([A-Z])-(\d+)(?: to [A-Z]-(\d+))?$/.exec(part) ?? [];
      for (let id = Number(first); id <= Number(last); id++) ids.push(`${prefix}-${id}`);
    }
  }
  const wanted = Object.entries({ A: 60, S: 59, N: 42, T: 58, E: 49 });
  expect(ids.sort()).toEqual(
    wanted.flatMap(([prefix, n]) => Array.from({ length: n }, (_, i) => `${prefix}-${i + 1}`)).sort(),
  );
});
