import type { ObjectStore } from '../../../core/archive/s3/store.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import type { Log } from '../../../core/log/log.ts';
import type { Processor } from '../../../core/processor/define.ts';
import { PrivateSchemas, SideSchemas } from '../schemas.ts';
import { ColdLog } from './log.ts';

/** Beside those of the replay itself. */
const firstPrivateId = 1_600_000_000;

export interface ColdOptions<In> {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly processor: Processor<In>;
  /** As for the replay: then what is written can be read by anybody, and the schemas of archived inputs get side subjects, too. */
  readonly into?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What a replay reads when its inputs come from the archive as far as that goes: give it both. Registers nothing without `into`.
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
