import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { type ArchivedTopic, objectsTopic } from '../../../schemas/topics.ts';
import type { Schemas } from '../../avro/schemas.ts';
import type { Log } from '../../runtime/log.ts';
import { readObjects } from '../objects.ts';

/** Offsets of the first step backwards; each further step takes twice as many. Most cuts are a record and a transaction marker. */
const firstStep = 32n;

export interface NewestObject {
  /** Of its record in the objects topic. */
  readonly offset: bigint;
  /** When it was listed, milliseconds since 1970. */
  readonly timestamp: bigint;
  readonly object: ArchiveObject;
}

/**
 * The newest object record of one partition, also of an object that was replaced since; undefined when there is none. Reads backwards from the
 * end, so the cost does not grow with the list. Waits for a transaction that is open there.
 *
 * @param before first offset after what counts; default: the end
 * @throws as `listObjects`
 */
export async function newestObject(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  partition: number,
  { before, signal = new AbortController().signal }: { readonly before?: bigint; readonly signal?: AbortSignal } = {},
): Promise<NewestObject | undefined> {
  const name = objectsTopic(topic);
  const [starts, ends] = await Promise.all([log.starts(name), log.ends(name)]);
  const start = starts[partition] ?? 0n;
  let to = before ?? ends[partition] ?? 0n;
  for (let step = firstStep; to > start; step *= 2n) {
    const from = to - step > start ? to - step : start;
    const at = (offset: bigint): bigint[] => ends.map((_, each) => (each === partition ? offset : 0n));
    let newest: NewestObject | undefined;
    for await (const { records } of readObjects(log, schemas, topic, { from: at(from), to: at(to) }, signal)) {
      newest = records.at(-1);
    }
    if (newest !== undefined) return newest;
    to = from;
  }
  return undefined;
}
