import { MillraceError } from '../../core/base/errors.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';

/**
 * A planned step of one topic's manifests: which object records it takes, and up to where days are complete. It decides every byte that
 * is written, so it is committed before the first of them, as metadata of the task's offset, until the step is done.
 */
export interface Plan {
  readonly topic: ArchivedTopic;
  /** By partition of the objects topic: first offset after what is taken. */
  readonly ends: readonly bigint[];
  /** First offset of archive.replacements after what is taken. Everything that is replaced before it is in object records before `ends`. */
  readonly replacements: bigint;
  /** Log time that the archive of every partition has passed, and that less the lateness; microseconds. Undefined when none is known. */
  readonly complete: { readonly passed: bigint; readonly through: bigint } | undefined;
  /** Timestamp of what is published, milliseconds. */
  readonly time: bigint;
}

const format = 1;

export function formatPlan({ topic, ends, replacements, complete, time }: Plan): string {
  return JSON.stringify({
    v: format,
    topic,
    ends: ends.map(String),
    ...(replacements === 0n ? {} : { replacements: `${replacements}` }),
    ...(complete === undefined ? {} : { passed: `${complete.passed}`, through: `${complete.through}` }),
    time: `${time}`,
  });
}

/** The planned step, or undefined for an offset without one. @throws MillraceError CUT_UNREADABLE */
export function parsePlan(metadata: string): Plan | undefined {
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
