/** The archive for commands that change it: the log, the bucket, and the place of the objects in it. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { normalPrefix } from '../../core/archive/keys.ts';
import { replacementsTopic } from '../../core/archive/replacements.ts';
import { openStore } from '../../core/archive/s3/open.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import type { Registry } from '../../core/avro/registry/registry.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { KafkaLog } from '../../core/kafka/log.ts';
import { cacheDir, loadConfig } from '../settings/config.ts';
import { withLog } from '../stack/log.ts';
import { untilSignal } from '../terminal/signals.ts';

export interface ArchivePlace {
  readonly log: KafkaLog;
  readonly schemas: Registry;
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
  readonly prefix: string;
  readonly epoch: string;
  readonly settings: { readonly targetBytes: number };
  readonly readerGraceMs: number;
  readonly scratchDir: string;
  readonly now: () => number;
}

/** Opens the archive for `work` and closes it afterwards. @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING, and errors of `work` */
export async function withArchive<T>(command: Command, work: (place: ArchivePlace) => Promise<T>): Promise<T> {
  const config = loadConfig(command);
  const signal = untilSignal(() => new MillraceError('INTERRUPTED', 'interrupted'));
  return withLog(config, async (log, schemas) => {
    // Fails before any change if the topic is missing, as on a cluster of an earlier release.
    await log.ends(replacementsTopic);
    await using store = openStore(config.s3);
    const { targetBytes, readerGraceMs } = config.compact;
    return await work({
      log,
      schemas,
      store,
      signal,
      prefix: normalPrefix(config.parquet.topicsDir),
      epoch: await log.clusterId(),
      settings: { targetBytes },
      readerGraceMs,
      scratchDir: join(cacheDir(), 'compact'),
      now: Date.now,
    });
  });
}
