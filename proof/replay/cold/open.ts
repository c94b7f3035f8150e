import type { ObjectStore } from '../../../core/archive/s3/store.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import type { Log } from '../../../core/log/log.ts';
import type { Processor } from '../../../core/processor/define.ts';
import { PrivateSchemas, SideSchemas } from '../schemas.ts';
import { ColdLog } from './log.ts';

/** Separate from the private ids of the replay. */
const firstPrivateId = 1_600_000_000;

export interface ColdOptions<In> {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly processor: Processor<In>;
  /** As for the replay: the outputs become readable for others, and the schemas of archived inputs get side subjects, too. */
  readonly into?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens the log and schemas for a replay with archived inputs; pass both to the replay. Registers nothing without `into`.
 *
 * @throws as `ColdLog.open`
 */
export async function openCold<In>(
  options: ColdOptions<In>,
): Promise<{ readonly log: ColdLog; readonly schemas: Schemas }> {
  const { log, schemas, store, processor, into, signal } = options;
  const own = into === undefined ? new PrivateSchemas(schemas, firstPrivateId) : new SideSchemas(schemas, into);
  const inputs = processor.inputs.map(({ topic, schema }) => ({ topic, schema }));
  const cold = await ColdLog.open({ log, schemas: own, store, inputs, ...(signal === undefined ? {} : { signal }) });
  return { log: cold, schemas: into === undefined ? own : schemas };
}
