/** Where the configuration comes from: defaults, then the local stack's file, then the environment, then flags. The only reader of process.env. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { type Config, configSchema, parseConfig } from '../core/config.ts';
import { MillraceError } from '../core/errors.ts';
import { type Mapped, mapConnector } from '../sinks/parquet/connector/mapping.ts';

export const projectDir = resolve(import.meta.dirname, '..');

type Tree = { [key: string]: unknown };

export interface GlobalOptions {
  readonly stack?: string;
  readonly debug?: boolean;
}

/** Options given before or after the subcommand. */
export function globalOptions(command: Command): GlobalOptions {
  return command.optsWithGlobals<GlobalOptions>();
}

export function stackName(command: Command): string {
  return globalOptions(command).stack ?? process.env['MILLRACE_STACK'] ?? 'dev';
}

export function stackDir(name: string): string {
  return join(process.env['MILLRACE_HOME'] ?? join(projectDir, '.millrace'), name);
}

/** Where set-up keeps what it installs, shared by all clones. */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  return env['MILLRACE_CACHE'] ?? join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'millrace');
}

/** @throws MillraceError CONFIG_INVALID */
export function loadConfig(command: Command): Config {
  return configOf(stackName(command), process.env);
}

export function configOf(stack: string, env: NodeJS.ProcessEnv, overrides: Tree = {}): Config {
  const file = join(stackDir(stack), 'stack.json');
  const sources = [{ stack: { name: stack } }, fromStackFile(file), fromEnvironment(env), overrides];
  const { connector } = parseConfig(sources.reduce(merge, {})).parquet;
  // What somebody set for this process wins over what a connector's file says.
  if (connector !== '') sources.splice(2, 0, readConnector(connector).config);
  return parseConfig(sources.reduce(merge, {}));
}

/** `millrace up` writes the endpoints and secrets of the stack it started under `config`. */
function fromStackFile(file: string): Tree {
  if (!existsSync(file)) return {};
  try {
    const { config } = JSON.parse(readFileSync(file, 'utf8')) as { config?: Tree };
    return config ?? {};
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `${file} cannot be read: ${(cause as Error).message}`, {
      cause,
      remedy: 'remove the file and run millrace up',
    });
  }
}

/** What the configuration of Kafka Connect's S3 sink is here. @throws MillraceError CONFIG_INVALID */
export function readConnector(file: string): Mapped {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `${file} cannot be read: ${(cause as Error).message}`, {
      cause,
      remedy: 'name a file with the JSON of a connector (parquet.connector, MILLRACE_PARQUET_CONNECTOR)',
    });
  }
  return mapConnector(json);
}

/** `kafka.clientId` is `MILLRACE_KAFKA_CLIENT_ID`; lists are comma-separated. */
export function environmentName(path: readonly string[]): string {
  return `MILLRACE_${path.map((part) => part.replace(/[A-Z0-9]+(?=[A-Z]|$)|[A-Z]/g, (upper, at: number) => (at > 0 && /[A-Z]/.test(upper) ? `_${upper}` : upper)).toUpperCase()).join('_')}`;
}

function fromEnvironment(env: NodeJS.ProcessEnv): Tree {
  const found: Tree = {};
  const defaults = configSchema.parse({}) as Tree;
  for (const [section, settings] of Object.entries(defaults)) {
    for (const [name, value] of Object.entries(settings as Tree)) {
      const text = env[environmentName([section, name])];
      if (text === undefined) continue;
      const target = (found[section] ?? {}) as Tree;
      target[name] = Array.isArray(value)
        ? text.split(',').map((each) => each.trim())
        : typeof value === 'number'
          ? numberOf(text)
          : text;
      found[section] = target;
    }
  }
  return found;
}

/** What is no number stays text, so that validation names it. */
function numberOf(text: string): number | string {
  return /^-?\d+$/.test(text.trim()) ? Number(text) : text;
}

function merge(base: Tree, over: Tree): Tree {
  const merged: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const existing = merged[key];
    merged[key] = isTree(existing) && isTree(value) ? merge(existing, value) : value;
  }
  return merged;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
