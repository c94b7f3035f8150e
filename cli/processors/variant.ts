/** A variant of a processor: its topics, their readers, and the effects of a swap and a drop. */
import { topicSpec } from '../../connectors/definition/topics.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { TopicAdmin } from '../../core/kafka/admin.ts';
import { variantName, variantOf, variantTopic } from '../../core/operations/variant.ts';
import type { Processor } from '../../core/processor/define.ts';
import { processorTopics, type Topic } from '../../schemas/topics.ts';
import { parseRoute } from '../terminal/options.ts';

export interface Variant {
  readonly original: Processor<unknown>;
  readonly suffix: string;
  readonly name: string;
  /** Outputs that readers find by name: without the late and dead topics. */
  readonly outputs: readonly { readonly topic: string; readonly target: string }[];
}

/** @throws MillraceError CONFIG_INVALID */
export function variant(original: Processor<unknown>, suffix: string): Variant {
  if (!/^[a-z][a-z0-9]{0,19}$/.test(suffix)) {
    throw new MillraceError('CONFIG_INVALID', `${JSON.stringify(suffix)} cannot name a variant`, {
      remedy: 'use lower-case letters and digits, such as green',
    });
  }
  const own = `${original.name}.`;
  const outputs = original.outputs
    .filter(({ topic, keySchema }) => !topic.startsWith(own) && keySchema !== null)
    .map(({ topic }) => ({ topic, target: variantTopic(original.name, topic, suffix) }));
  return { original, suffix, name: variantName(original.name, suffix), outputs };
}

/** The topics that it needs: its state has as many partitions as its input, its outputs as many as requested. */
export function variantTopics({ original, name, suffix }: Variant, input: number, outputs: number): readonly Topic[] {
  const names = original.outputs.map(({ topic }) => variantTopic(original.name, topic, suffix));
  return processorTopics(name, names, input).map((topic) =>
    names.includes(topic.name) ? { ...topic, partitions: outputs } : topic,
  );
}

export async function createTopics(admin: TopicAdmin, topics: readonly Topic[]): Promise<void> {
  await admin.create(topics.map(topicSpec));
}

/** The processor as a variant. It is routed by fields if its outputs and its input differ in their number of partitions. */
export async function openVariant<In>(
  admin: Pick<TopicAdmin, 'partitions'>,
  processor: Processor<In>,
  suffix: string,
  route: string,
): Promise<Processor<In>> {
  const counts = await admin.partitions();
  const input = counts.get(processor.inputs[0].topic);
  const others = processor.outputs.map(({ topic }) => counts.get(variantTopic(processor.name, topic, suffix)));
  if (input === undefined || others.some((count) => count === undefined)) {
    throw new MillraceError('TOPIC_MISSING', `the variant ${suffix} of ${processor.name} has no topics`, {
      remedy: `create them: millrace deploy start ${processor.name} --suffix ${suffix}`,
    });
  }
  const isRouted = others.some((count) => count !== input);
  return variantOf(processor, suffix, isRouted ? parseRoute(route) : undefined);
}
