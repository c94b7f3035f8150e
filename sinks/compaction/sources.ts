import type { ObjectStore } from '../../core/archive/s3/store.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';

/** Where the archive is read from. */
export interface ArchiveSources {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
}
