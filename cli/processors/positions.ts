/** Positions in the stages' own state, which `offsets restore` and `status` compare with the offsets of the groups. */
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { readAliases } from '../../core/operations/aliases.ts';
import {
  type OwnPositions,
  positionsOfArchive,
  positionsOfProcessor,
} from '../../core/operations/offsets/positions.ts';
import { variantName } from '../../core/operations/variant.ts';
import { archivedTopics } from '../../schemas/topics.ts';
import type { Stage } from '../status/stages.ts';
import { processors } from './built-in.ts';
import { loadProcessor } from './module.ts';

/** Sinks that need no group offset, because reading records again changes nothing. */
const repeatable: Readonly<Record<string, string>> = {
  'hot-store': 'it reads its topics again from the earliest record, and keeps each row once',
  manifests: 'its position is in archive.partitions',
};

/** Positions by the name of the group. A variant's name is that of the processor with the suffix. @throws MillraceError CONFIG_INVALID */
export async function positionsNamed(
  config: Config,
  log: Log,
  schemas: Schemas,
  name: string | undefined,
  module: string | undefined,
): Promise<OwnPositions> {
  if (name === 'parquet') return positionsOfArchive(schemas, name, archivedTopics);
  const why = repeatable[name ?? ''];
  if (why !== undefined) {
    throw new MillraceError('CONFIG_INVALID', `${name} has no position to restore: ${why}`, {
      remedy: `start it: millrace run ${name}`,
    });
  }
  const original =
    module === undefined ? Object.keys(processors).find((each) => name?.startsWith(`${each}-`)) : undefined;
  const { processor } = await loadProcessor(config, original ?? name, module);
  const aliases = await readAliases(log, schemas);
  const [primary, ...others] = processor.inputs.map(({ topic }) => aliases.get(topic)?.target ?? topic);
  const own =
    original === undefined ? processor.name : variantName(original, (name as string).slice(original.length + 1));
  return positionsOfProcessor(own, [primary as string, ...others]);
}

/** Positions of a stage from the list; undefined if its state has none. */
export function positionsOfStage(schemas: Schemas, { name, kind, inputs }: Stage): OwnPositions | undefined {
  if (name === 'parquet') return positionsOfArchive(schemas, name, archivedTopics);
  const [primary, ...others] = inputs;
  return kind === 'processor' ? positionsOfProcessor(name, [primary as string, ...others]) : undefined;
}
