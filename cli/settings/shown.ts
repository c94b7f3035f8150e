/** Every setting with its effective value and its origin, for printing. */
import { configSchema, maskConfig } from '../../core/base/config.ts';
import { type ConfigSource, configFrom } from './config.ts';
import { environmentName } from './environment.ts';
import type { Tree } from './tree.ts';

export interface ShownSetting {
  /** For example `kafka.clientId`. */
  readonly setting: string;
  /** Secrets are masked. */
  readonly value: unknown;
  readonly origin: 'default' | ConfigSource['name'];
  /** The environment variable that sets it. */
  readonly variable: string;
}

/** In the order of the schema. @param sources in order: a later one wins */
export function shownSettings(sources: readonly ConfigSource[]): readonly ShownSetting[] {
  const config = maskConfig(configFrom(sources)) as Tree;
  return Object.entries(configSchema.parse({}) as Tree).flatMap(([section, names]) =>
    Object.keys(names as Tree).map((name): ShownSetting => {
      const origin = sources.findLast(({ tree }) => (tree[section] as Tree | undefined)?.[name] !== undefined);
      return {
        setting: `${section}.${name}`,
        value: (config[section] as Tree)[name],
        origin: origin?.name ?? 'default',
        variable: section === 'stack' ? 'MILLRACE_STACK' : environmentName([section, name]),
      };
    }),
  );
}
