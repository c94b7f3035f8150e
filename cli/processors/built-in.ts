/** The built-in processors by name. Running, replaying and resetting start from this list. */
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Processor } from '../../core/processor/define.ts';
import { anomaly } from '../../processors/anomaly/anomaly.ts';
import { enrichment } from '../../processors/enrichment/enrichment.ts';
import { features } from '../../processors/features/features.ts';
import { ohlcv } from '../../processors/ohlcv/ohlcv.ts';

export interface Registered {
  /** Makes it with the settings of this configuration. @throws MillraceError CONFIG_INVALID */
  readonly make: (config: Config) => Processor<unknown>;
  /** Whether heartbeats advance its log time while its input is quiet. A processor with windows needs them. */
  readonly heartbeats: boolean;
}

export const processors: Readonly<Record<string, Registered>> = {
  ohlcv: { make: (config) => ohlcv(config.ohlcv), heartbeats: true },
  anomaly: { make: (config) => anomaly(config.anomaly), heartbeats: true },
  enrichment: { make: () => enrichment(), heartbeats: false },
  features: { make: (config) => features(config.features), heartbeats: true },
};

/** @throws MillraceError CONFIG_INVALID: the name is unknown. */
export function processorOf(config: Config, name: string): Processor<unknown> {
  const found = processors[name];
  if (found !== undefined) return found.make(config);
  throw new MillraceError('CONFIG_INVALID', `no processor is called ${name}`, {
    remedy: `name one of ${Object.keys(processors).join(', ')}, or give your own with --module`,
  });
}

/** Topics that a processor writes for readers: its outputs, and its late and dead topics. */
export function outputTopics({ name, outputs }: Processor<unknown>): readonly string[] {
  return [...new Set([...outputs.map(({ topic }) => topic), `${name}.dead`])];
}
