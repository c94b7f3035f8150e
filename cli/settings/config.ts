/** Reads the configuration: defaults, then the local stack's file, then the environment, then flags. The only reader of process.env. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { type Config, isStackName, parseConfig } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { once } from '../../core/base/renames.ts';
import { type Mapped, mapConnector } from '../../sinks/parquet/connector/mapping.ts';
import { fromEnvironment } from './environment.ts';
import { underKnownNames } from './names.ts';
import { similar } from './similar.ts';
import { mergeTrees, type Tree } from './tree.ts';

export const projectDir = resolve(import.meta.dirname, '../..');
export const defaultStack = 'dev';

export interface GlobalOptions {
  readonly stack?: string;
  readonly debug?: boolean;
}

/** Global options, given before or after the subcommand. */
export function globalOptions(command: Command): GlobalOptions {
  return command.optsWithGlobals<GlobalOptions>();
}

/** @throws MillraceError CONFIG_INVALID: the text is not a stack name, for example empty or a path. */
export function stackName(command: Command): string {
  return requireStackName(globalOptions(command).stack ?? process.env['MILLRACE_STACK'] ?? defaultStack);
}

/** The folder of all local stacks of this clone. @throws MillraceError CONFIG_INVALID */
export function stacksHome(): string {
  return folderOf('MILLRACE_HOME') ?? join(projectDir, '.millrace');
}

/** @throws MillraceError CONFIG_INVALID: the text is not a stack name, so it could lead to any folder. */
export function stackDir(name: string): string {
  return join(stacksHome(), requireStackName(name));
}

/** The folder of all installed parts, shared by all clones. @throws MillraceError CONFIG_INVALID */
export function cacheDir(): string {
  return folderOf('MILLRACE_CACHE') ?? join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'millrace');
}

function requireStackName(name: string): string {
  if (isStackName(name)) return name;
  throw new MillraceError('CONFIG_INVALID', `${JSON.stringify(name)} is no name of a stack`, {
    remedy: 'Use 1 to 31 lower-case letters, digits and dashes; without --stack and MILLRACE_STACK the stack is dev.',
  });
}

function folderOf(variable: string): string | undefined {
  const folder = process.env[variable];
  if (folder === undefined) return undefined;
  if (folder.trim() !== '' && resolve(folder) !== '/') return resolve(folder);
  throw new MillraceError('CONFIG_INVALID', `${variable} is ${JSON.stringify(folder)}, which is no folder of its own`, {
    remedy: 'Set it to the path of a folder, or unset it.',
  });
}

/**
 * The configuration of the chosen stack.
 *
 * @param warn called for each setting with a former name. Default: a line on stderr, once in a process.
 * @throws MillraceError CONFIG_INVALID: a setting is wrong, or a named stack does not exist, whose default ports would belong to another
 *   stack.
 */
export function loadConfig(command: Command, warn: Warn = warnOnStderr): Config {
  const name = stackName(command);
  requireStack(name);
  return configOf(name, process.env, {}, warn);
}

/** The stack `dev` needs no record: its parts may run elsewhere, on the default ports. */
function requireStack(name: string): void {
  if (name === defaultStack || existsSync(recordOf(name))) return;
  const others = stackNames();
  const like = similar(name, others);
  throw new MillraceError(
    'CONFIG_INVALID',
    `there is no stack ${name}${like === undefined ? '' : `; did you mean ${like}?`}`,
    {
      remedy: `Start it with \`millrace up --stack ${name}\`. Stacks here: ${others.join(', ') || 'none'}.`,
    },
  );
}

/** Stacks of this clone that were started and not wiped, by name. */
export function stackNames(): readonly string[] {
  const home = stacksHome();
  if (!existsSync(home)) return [];
  return readdirSync(home).filter((name) => isStackName(name) && existsSync(recordOf(name)));
}

function recordOf(stack: string): string {
  return join(stackDir(stack), 'stack.json');
}

type Warn = (message: string) => void;

const warnOnStderr = once((message) => process.stderr.write(`warning: ${message}\n`));

export function configOf(
  stack: string,
  env: NodeJS.ProcessEnv,
  overrides: Tree = {},
  warn: Warn = warnOnStderr,
): Config {
  return configFrom(configSources(stack, env, overrides, warn));
}

/** Settings of one origin. */
export interface ConfigSource {
  readonly name: 'stack' | 'stack file' | 'connector file' | 'environment' | 'flag';
  readonly tree: Tree;
}

/** Sources in order: a later one wins. @throws MillraceError CONFIG_INVALID */
export function configSources(
  stack: string,
  env: NodeJS.ProcessEnv,
  overrides: Tree = {},
  warn: Warn = warnOnStderr,
): readonly ConfigSource[] {
  const file = recordOf(stack);
  const sources: ConfigSource[] = [
    { name: 'stack', tree: { stack: { name: stack } } },
    { name: 'stack file', tree: fromStackFile(file, warn) },
    { name: 'environment', tree: fromEnvironment(env, warn) },
    { name: 'flag', tree: underKnownNames(overrides, warn) },
  ];
  const { connector } = configFrom(sources).parquet;
  // A setting of this process wins over the connector's file.
  if (connector !== '') sources.splice(2, 0, { name: 'connector file', tree: { ...readConnector(connector).config } });
  return sources;
}

/** @throws MillraceError CONFIG_INVALID */
export function configFrom(sources: readonly ConfigSource[]): Config {
  return parseConfig(mergeTrees(sources.map(({ tree }) => tree)));
}

/** Reads `config` in the stack's file, where `millrace up` writes the endpoints and secrets. */
function fromStackFile(file: string, warn: Warn): Tree {
  if (!existsSync(file)) return {};
  return underKnownNames(readStackFile(file), (message) => warn(`${file}: ${message}`));
}

function readStackFile(file: string): Tree {
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

/** Maps a configuration file of Kafka Connect's S3 sink. @throws MillraceError CONFIG_INVALID */
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
