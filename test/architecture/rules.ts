/** What may import what. Imports point one way: schemas ← core ← the siblings ← cli. */
import type { SourceFile } from './imports.ts';

/** Siblings meet at topics and storage, never by import. */
const siblings = ['connectors', 'processors', 'sinks', 'proof', 'storage', 'gateway', 'infra'];

/** By top-level folder, or file of the public interface: what it may import beside itself. docs/architecture.md shows the same. */
export const allowed: Readonly<Record<string, readonly string[]>> = {
  schemas: [],
  core: ['schemas'],
  ...Object.fromEntries(siblings.map((name) => [name, ['schemas', 'core']])),
  cli: ['schemas', 'core', ...siblings],
  // The public interface.
  'index.ts': ['schemas', 'core', 'entries'],
  entries: ['schemas', 'core'],
};

/**
 * What each folder of core may import from the others. The order is from the bottom to the top: a folder imports only folders above it in
 * this list. docs/architecture.md shows the same.
 */
export const core: Readonly<Record<string, readonly string[]>> = {
  base: [],
  values: ['base'],
  capture: ['base', 'values'],
  avro: ['base'],
  log: ['base', 'avro'],
  kafka: ['base', 'log'],
  archive: ['base', 'values', 'capture', 'avro', 'log'],
  'hot-store': ['base', 'values', 'archive'],
  processor: ['base', 'values', 'capture'],
  state: ['base', 'values', 'capture', 'avro', 'log', 'processor'],
  observability: ['base', 'state'],
  runtime: ['base', 'capture', 'avro', 'log', 'processor', 'state', 'observability'],
  operations: ['base', 'values', 'avro', 'log', 'archive', 'processor', 'state', 'runtime'],
  testing: ['base', 'avro', 'log', 'processor', 'state', 'observability', 'runtime'],
};

/** Packages that one folder wraps, so that they can be replaced. */
const wrapped: Readonly<Record<string, string>> = {
  kafkajs: 'core/kafka/',
  avsc: 'core/avro/',
  '@kafkajs/confluent-schema-registry': 'core/avro/',
  'fast-check': 'test/support/property.ts',
};

/** Belong to the composition root. */
const reserved = ['env', 'exit', 'exitCode', 'on', 'once'];

/** Wrapped for tests and benches, too: what they draw comes from the run's seed, so that it can be repeated. */
const everywhere: ReadonlySet<string> = new Set(['fast-check']);

const isTest = (path: string): boolean =>
  /\.test\.ts$|^(test|bench)\/|\/fixtures?[/.]|^processors\/[^/]+\/testing\//.test(path);

/** One sentence for each violation. `shipped` are the packages that the image has: dependencies, not devDependencies. */
export function violations(sources: ReadonlyMap<string, SourceFile>, shipped: ReadonlySet<string>): readonly string[] {
  const found: string[] = [];
  for (const file of sources.values()) {
    found.push(...directions(file), ...packages(file, shipped), ...environment(file));
    for (const target of file.files) {
      if (sources.size > 0 && /\.ts$/.test(target) && !sources.has(target)) {
        found.push(`${file.path} imports ${target}, which is not there`);
      }
    }
  }
  for (const cycle of cycles(sources)) found.push(`these import each other in a circle: ${cycle.join(' → ')}`);
  return found;
}

function directions(file: SourceFile): string[] {
  if (/^(test|bench)\//.test(file.path)) return [];
  const from = layerOf(file.path);
  return file.files
    .filter((target) => {
      if (isTest(file.path) && target.startsWith('test/')) return false;
      const to = layerOf(target);
      if (from === 'core' && to === 'core' && !isTest(file.path)) return !coreAllows(file.path, target);
      if (to === from) return ![unitOf(file.path), to].includes(unitOf(target)) && !isTest(file.path);
      if (target === 'package.json') return from !== 'cli';
      return !(allowed[from] ?? []).includes(to);
    })
    .map((target) => `${file.path} may not import ${target}`);
}

function packages(file: SourceFile, shipped: ReadonlySet<string>): string[] {
  return file.packages.flatMap((name) => {
    const home = wrapped[name];
    const free = /^(test|bench)\//.test(file.path) && !everywhere.has(name);
    if (home !== undefined && !file.path.startsWith(home) && !free) {
      return [`${file.path} imports ${name}, which only ${home} does`];
    }
    const needed =
      !file.typePackages.has(name) &&
      !name.startsWith('node:') &&
      !isTest(file.path) &&
      !/^(infra|core\/testing)\//.test(file.path);
    return needed && !shipped.has(name) ? [`${file.path} imports ${name}, which is no dependency of the image`] : [];
  });
}

function environment(file: SourceFile): string[] {
  if (isTest(file.path) || file.path.startsWith('cli/') || file.path.endsWith('/bootstrap.mjs')) return [];
  return reserved
    .filter((member) => file.process.has(member))
    .map((member) => `${file.path} uses process.${member}, which only cli/ does`);
}

function layerOf(path: string): string {
  return path.split('/', 1)[0] ?? '';
}

function coreAllows(path: string, target: string): boolean {
  const [from = '', to = ''] = [path, target].map((each) => each.split('/')[1]);
  return from === to || (core[from] ?? []).includes(to);
}

/** A processor or a sink; they do not import each other either, only what lies beside them for all of them. */
function unitOf(path: string): string {
  const [layer, unit, rest] = path.split('/');
  return (layer === 'processors' || layer === 'sinks') && rest !== undefined ? `${layer}/${unit}` : (layer ?? '');
}

/** Strongly connected components of more than one file, or of a file that imports itself (Tarjan). */
export function cycles(sources: ReadonlyMap<string, SourceFile>): readonly (readonly string[])[] {
  const found: string[][] = [];
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const open = new Set<string>();

  function connect(path: string): void {
    index.set(path, index.size);
    low.set(path, index.get(path) ?? 0);
    stack.push(path);
    open.add(path);
    const targets = sources.get(path)?.files ?? [];
    for (const target of targets) {
      if (!sources.has(target)) continue;
      if (!index.has(target)) {
        connect(target);
        low.set(path, Math.min(low.get(path) ?? 0, low.get(target) ?? 0));
      } else if (open.has(target)) {
        low.set(path, Math.min(low.get(path) ?? 0, index.get(target) ?? 0));
      }
    }
    if (low.get(path) !== index.get(path)) return;
    const members = stack.splice(stack.indexOf(path));
    for (const member of members) open.delete(member);
    if (members.length > 1 || targets.includes(path)) found.push(members);
  }

  for (const path of sources.keys()) if (!index.has(path)) connect(path);
  return found;
}
