import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/runtime/log.ts';
import type { ObjectStore } from '../../core/s3/store.ts';

/** Where the archive is read. */
export interface ArchiveSources {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
}
