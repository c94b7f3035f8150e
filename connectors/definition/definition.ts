// biome-ignore-all lint/suspicious/noTemplateCurlyInString: placeholders of connector definitions
/**
 * A connector definition, read from a file. Millrace replaces `${name}` from the configuration. `${provider:path:key}` is Kafka Connect's
 * own placeholder and stays, so only the worker reads the secret. It is neither in the file nor in Connect's answers.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { MillraceError } from '../../core/base/errors.ts';

export type ConnectorConfig = Readonly<Record<string, string>>;

export interface Definition {
  readonly name: string;
  readonly config: ConnectorConfig;
}

/** Values for the placeholders of a definition; captureSettings() makes them. */
export type DefinitionValues = Readonly<Record<string, string>>;

const shape = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]*$/),
  config: z.record(z.string(), z.string({ error: 'must be a string: Kafka Connect takes only strings' })),
});

const ours = /\$\{([a-zA-Z][a-zA-Z0-9.]*)\}/g;
const connects = /^\$\{(?:dir|file|env):[^}]+\}$/;
const secretKey = /password|secret|\.credentials$/i;

/** @throws MillraceError CONFIG_INVALID */
export async function readDefinition(file: string, settings: DefinitionValues): Promise<Definition> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `connector definition ${file} cannot be read`, { cause });
  }
  return parseDefinition(text, file, settings);
}

/**
 * @param source name of the text in messages.
 * @throws MillraceError CONFIG_INVALID: no JSON, a wrong shape, a placeholder without a value, or a secret in plain text.
 */
export function parseDefinition(text: string, source: string, settings: DefinitionValues): Definition {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new MillraceError(
      'CONFIG_INVALID',
      `connector definition ${source} is no JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
  const parsed = shape.safeParse(json);
  if (!parsed.success) {
    const where = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'it'}: ${issue.message}`).join('; ');
    throw new MillraceError('CONFIG_INVALID', `connector definition ${source} is not valid: ${where}`);
  }
  const missing = new Set<string>();
  const config: Record<string, string> = {};
  for (const [key, template] of Object.entries(parsed.data.config)) {
    const value = template.replace(ours, (whole, name: string) => {
      const setting = settings[name];
      if (setting === undefined) missing.add(name);
      return setting ?? whole;
    });
    if (secretKey.test(key) && !connects.test(value)) {
      throw new MillraceError('CONFIG_INVALID', `connector definition ${source} has ${key} in plain text`, {
        remedy: 'Refer to it through a config provider of Kafka Connect, e.g. ${dir:/folder:file}.',
      });
    }
    config[key] = value;
  }
  if (missing.size > 0) {
    const names = [...missing].map((name) => `\${${name}}`).join(', ');
    throw new MillraceError('CONFIG_INVALID', `connector definition ${source} needs values for ${names}`);
  }
  return { name: parsed.data.name, config };
}

/** Keys whose values differ, sorted; `name` is Kafka Connect's own addition. */
export function differences(wanted: ConnectorConfig, actual: ConnectorConfig): readonly string[] {
  const keys = new Set([...Object.keys(wanted), ...Object.keys(actual)]);
  keys.delete('name');
  return [...keys].filter((key) => wanted[key] !== actual[key]).sort();
}
