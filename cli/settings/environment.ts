/** Settings from environment variables: `kafka.clientId` is `MILLRACE_KAFKA_CLIENT_ID`. */
import { configSchema } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { renamed, underNewNames } from '../../core/base/renames.ts';
import { told } from './names.ts';
import type { Tree } from './tree.ts';

const prefix = 'MILLRACE_';

/** Variables that are not settings: the stack, the folders of this machine, and those of docker-compose.kafka.yml and the tests. */
const otherVariables = [
  'MILLRACE_STACK',
  'MILLRACE_HOME',
  'MILLRACE_CACHE',
  'MILLRACE_GRAFANA_PASSWORD',
  'MILLRACE_JAVA_OPTIONS',
  'MILLRACE_POSTGRES_PASSWORD',
  'MILLRACE_REGISTRY_PASSWORD',
  'MILLRACE_TEST_HOMES',
  'MILLRACE_TEST_STACK',
] as const;

export function environmentName(path: readonly string[]): string {
  return `${prefix}${path.map((part) => part.replace(/[A-Z0-9]+(?=[A-Z]|$)|[A-Z]/g, (upper, at: number) => (at > 0 && /[A-Z]/.test(upper) ? `_${upper}` : upper)).toUpperCase()).join('_')}`;
}

/**
 * Setting by variable, with its default, also under its former name. Only --stack or MILLRACE_STACK chooses the stack's name, because
 * folders depend on it.
 */
const settings = new Map(
  Object.entries(configSchema.omit({ stack: true }).parse({}) as Tree).flatMap(([section, values]) =>
    [...Object.keys(values as Tree), ...renamed(section).keys()].map((name) => {
      const value = (values as Tree)[renamed(section).get(name) ?? name];
      return [environmentName([section, name]), { section, name, value }] as const;
    }),
  ),
);

/** Present variables by their former names. */
const formerVariables = new Map(
  [...settings].flatMap(([variable, { section, name }]) => {
    const now = renamed(section).get(name);
    return now === undefined ? [] : [[variable, environmentName([section, now])] as const];
  }),
);

/**
 * Reads the settings in the environment. Lists are comma-separated. Records are `name=value`, comma-separated, or a JSON object.
 *
 * @param warn called for each variable with a former name
 * @throws MillraceError CONFIG_INVALID: a variable begins with `MILLRACE_` and is not a setting, or a setting has both its names.
 */
export function fromEnvironment(env: NodeJS.ProcessEnv, warn: (message: string) => void): Tree {
  refuseUnknown(env);
  const found: Tree = {};
  for (const [variable, { section, name, value }] of settings) {
    const text = env[variable];
    if (text === undefined) continue;
    found[section] = { ...((found[section] as Tree | undefined) ?? {}), [name]: parse(text, value) };
  }
  return Object.fromEntries(
    Object.entries(found).map(([section, values]) => {
      const show = (name: string) => environmentName([section, name]);
      return [section, underNewNames<Tree>(section, values as Tree, { warn, show })];
    }),
  );
}

function refuseUnknown(env: NodeJS.ProcessEnv): void {
  const known: readonly string[] = [...settings.keys(), ...otherVariables];
  const unknown = Object.keys(env).filter((name) => name.startsWith(prefix) && !known.includes(name));
  if (unknown.length === 0) return;
  const all = unknown.sort().map((name) => told(name, known, '', formerVariables));
  throw new MillraceError('CONFIG_INVALID', `no setting is called ${all.join(', ')}`, {
    remedy: 'Correct or unset the variable; `millrace config` lists every setting with its variable.',
  });
}

/** @param byDefault the setting's default, whose type decides how the text is parsed. Text that does not fit is left to validation. */
function parse(text: string, byDefault: unknown): unknown {
  if (Array.isArray(byDefault)) return text.split(',').map((each) => each.trim());
  if (typeof byDefault === 'number') return /^-?\d+$/.test(text.trim()) ? Number(text) : text;
  if (typeof byDefault === 'object' && byDefault !== null) return parseRecord(text);
  return text;
}

function parseRecord(text: string): unknown {
  if (text.trim() === '') return {};
  if (text.trimStart().startsWith('{')) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  const pairs = text.split(',').map((each) => /^\s*([^=]+?)\s*=\s*(.*?)\s*$/.exec(each)?.slice(1));
  return pairs.every((pair) => pair !== undefined) ? Object.fromEntries(pairs) : text;
}
