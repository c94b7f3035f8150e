/** Who imports whom, read from the syntax: imports of types count like all others, because a cycle of types is a cycle too. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { parseSync } from '@swc/core';

export interface SourceFile {
  /** From the root, with `/`. */
  readonly path: string;
  /** Files of the repository it imports, from the root. */
  readonly files: readonly string[];
  /** Packages and built-ins it imports, without their subpaths: `pg`, `@swc/core`, `node:fs`. */
  readonly packages: readonly string[];
  /** Those of them of which only types are imported. */
  readonly typePackages: ReadonlySet<string>;
  /** Members of `process` it names, e.g. `env`. */
  readonly process: ReadonlySet<string>;
}

const sources = /\.(ts|mts|mjs|js)$/;

/** Every source file below the folders, by path. */
export function readSources(root: string, folders: readonly string[]): ReadonlyMap<string, SourceFile> {
  const found = new Map<string, SourceFile>();
  for (const folder of folders) {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true, recursive: true })) {
      if (!entry.isFile() || !sources.test(entry.name) || entry.parentPath.includes('node_modules')) continue;
      const file = join(entry.parentPath, entry.name);
      const path = relative(root, file).split('\\').join('/');
      found.set(path, parseSource(path, readFileSync(file, 'utf8')));
    }
  }
  return found;
}

export function parseSource(path: string, text: string): SourceFile {
  const files = new Set<string>();
  const packages = new Set<string>();
  const values = new Set<string>();
  const process = new Set<string>();
  const program = parseSync(text, { syntax: 'typescript', target: 'es2024' });
  visit(program, (node) => {
    const specifier = importedBy(node);
    if (specifier !== undefined) {
      if (specifier.startsWith('.')) files.add(posix.normalize(posix.join(dirname(path), specifier)));
      else {
        packages.add(packageOf(specifier));
        if (node['typeOnly'] !== true && node['type'] !== 'TsImportType') values.add(packageOf(specifier));
      }
    }
    if (node['type'] === 'MemberExpression' && nameOf(node['object']) === 'process') {
      process.add(nameOf(node['property']) ?? '');
    }
  });
  return { path, files: [...files], packages: [...packages], typePackages: packages.difference(values), process };
}

type Node = Readonly<Record<string, unknown>>;

function visit(value: unknown, see: (node: Node) => void): void {
  if (Array.isArray(value)) {
    for (const each of value) visit(each, see);
  } else if (typeof value === 'object' && value !== null) {
    const node = value as Node;
    if (typeof node['type'] === 'string') see(node);
    for (const each of Object.values(node)) visit(each, see);
  }
}

/** `import … from`, `export … from`, `import()`, and `import('…').Type`. */
function importedBy(node: Node): string | undefined {
  switch (node['type']) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration':
      return textOf(node['source']);
    case 'TsImportType':
      return textOf(node['argument']);
    case 'CallExpression': {
      if ((node['callee'] as Node)['type'] !== 'Import') return undefined;
      return textOf((node['arguments'] as readonly { expression: unknown }[])[0]?.expression);
    }
    default:
      return undefined;
  }
}

function textOf(node: unknown): string | undefined {
  const literal = node as { type?: string; value?: unknown } | null | undefined;
  return literal?.type === 'StringLiteral' ? (literal.value as string) : undefined;
}

function nameOf(node: unknown): string | undefined {
  const named = node as { type?: string; value?: unknown };
  return named.type === 'Identifier' ? (named.value as string) : undefined;
}

function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
