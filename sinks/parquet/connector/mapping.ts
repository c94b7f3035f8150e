/**
 * Maps a configuration of Kafka Connect's S3 sink to Millrace. Each setting is taken over, or has a note that it always holds here, or is
 * refused with a remedy. None is ignored, because a different archive layout would be noticed late.
 */
import { type ConfigInput, configSchema } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { isSecretSetting, ruleOf, type SettingEffect } from './rules.ts';

/** The result for one setting. */
export interface MappedSetting {
  readonly setting: string;
  /** As given; masked for a secret. */
  readonly value: string;
  /** Our setting (`parquet.flushSize`); undefined if there is nothing to set. */
  readonly becomes: string | undefined;
  readonly note: string;
}

export interface Mapped {
  /** The resulting configuration, for `parseConfig`. */
  readonly config: ConfigInput;
  /** In the given order. */
  readonly taken: readonly MappedSetting[];
}

/**
 * Maps a connector's configuration.
 *
 * @param json `{"name": …, "config": {…}}` as in Connect's API, or the settings alone
 * @throws MillraceError CONFIG_INVALID: names every setting that cannot be taken over, with its remedy
 */
export function mapConnector(json: unknown): Mapped {
  const settings = settingsOf(json);
  const taken: MappedSetting[] = [];
  const refused: string[] = [];
  const config: Record<string, Record<string, unknown>> = {};
  const set = (path: string, value: unknown): void => {
    const [section = '', name = ''] = path.split('.');
    config[section] = { ...config[section], [name]: value };
  };
  for (const [setting, value] of settings) {
    const outcome = judge(setting, value);
    if ('refused' in outcome) {
      refused.push(`${setting}: ${outcome.refused}`);
      continue;
    }
    for (const [path, each] of Object.entries(outcome.sets ?? {})) set(path, each);
    const becomes = Object.keys(outcome.sets ?? {}).join(', ') || undefined;
    const shown = isSecretSetting(setting) ? '***' : value;
    taken.push({ setting, value: shown, becomes, note: outcome.note });
  }
  const region = settings.get('s3.region');
  if (region !== undefined && !settings.has('store.url')) {
    const endpoint = `https://s3.${region}.amazonaws.com`;
    set('s3.endpoint', endpoint);
    const note = `${endpoint}, the sink's endpoint without this setting`;
    taken.push({ setting: 'store.url', value: '', becomes: 's3.endpoint', note });
  }
  refused.push(...invalid(config));
  if (refused.length > 0) throw cannot(refused);
  return { config, taken };
}

function judge(setting: string, value: string): SettingEffect {
  if (/\$\{.*\}/.test(value)) {
    return { refused: 'is a reference that only Kafka Connect resolves; remove it and set it in the environment' };
  }
  return ruleOf(setting)(value.trim());
}

function settingsOf(json: unknown): ReadonlyMap<string, string> {
  const { config = json, ...rest } = (isObject(json) ? json : {}) as { readonly config?: unknown };
  if (!isObject(json) || !isObject(config)) {
    throw new MillraceError('CONFIG_INVALID', "a connector's configuration is a JSON object", {
      remedy: 'give the answer of Connect to GET /connectors/<name>, or its config',
    });
  }
  const settings = new Map<string, string>();
  const all = config === json ? config : { ...config, ...('name' in rest ? { name: rest.name } : {}) };
  for (const [name, value] of Object.entries(all)) {
    if (value === null || typeof value === 'object') throw cannot([`${name}: is not a text, number or flag`]);
    settings.set(name, String(value));
  }
  return settings;
}

/** Errors of our own schema about the values. */
function invalid(config: ConfigInput): string[] {
  const parsed = configSchema.safeParse(config);
  if (parsed.success) return [];
  return parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function cannot(refused: readonly string[]): MillraceError {
  const count = refused.length === 1 ? '1 setting' : `${refused.length} settings`;
  return new MillraceError('CONFIG_INVALID', `${count} of the connector cannot be taken over: ${refused.join('; ')}`, {
    remedy:
      'change or remove them in the file as said; docs/reference/storage/s3-sink-settings.md has every setting that is understood',
  });
}
