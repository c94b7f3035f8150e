import { MillraceError } from '../../core/base/errors.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';

/**
 * A planned step of one topic's manifests: the object records that it takes, and the time up to which days are complete. It decides every
 * byte that is written. So it is committed before the first write, as metadata of the task's offset, until the step is done.
 */
export interface ManifestPlan {
  readonly topic: ArchivedTopic;
  /** First offset after the taken records, by partition of the objects topic. */
  readonly ends: readonly bigint[];
  /**
   * First offset of archive.replacements after the taken ones. All objects that were replaced before it have their records before `ends`.
   */
  readonly replacements: bigint;
  /**
   * Log time that the archive of every partition has passed, and the same less the watermark delay; microseconds. Undefined while unknown.
   */
  readonly complete: { readonly passed: bigint; readonly through: bigint } | undefined;
  /** Timestamp of the published records, milliseconds. */
  readonly time: bigint;
}

const format = 1;

export function formatPlan({ topic, ends, replacements, complete, time }: ManifestPlan): string {
  return JSON.stringify({
    v: format,
    topic,
    ends: ends.map(String),
    ...(replacements === 0n ? {} : { replacements: `${replacements}` }),
    ...(complete === undefined ? {} : { passed: `${complete.passed}`, through: `${complete.through}` }),
    time: `${time}`,
  });
}

/** Reads the planned step; undefined for an offset without one. @throws MillraceError CUT_UNREADABLE */
export function parsePlan(metadata: string): ManifestPlan | undefined {
  if (metadata === '') return undefined;
  try {
    const parsed = JSON.parse(metadata) as Record<string, unknown>;
    const topic = archivedTopics.find((each) => each === parsed['topic']);
    if (parsed['v'] !== format || topic === undefined) throw new TypeError('not of this format');
    const { ends, replacements = '0', passed, through, time } = parsed;
    return {
      topic,
      ends: (ends as string[]).map(BigInt),
      replacements: BigInt(replacements as string),
      complete:
        passed === undefined ? undefined : { passed: BigInt(passed as string), through: BigInt(through as string) },
      time: BigInt(time as string),
    };
  } catch (cause) {
    throw new MillraceError('CUT_UNREADABLE', `this version cannot finish the planned step ${metadata.slice(0, 200)}`, {
      cause,
      remedy: 'run the version of Millrace that planned it, or a newer one; nothing is lost meanwhile',
    });
  }
}
