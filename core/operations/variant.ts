import type { Context, Fold, InputRecord, Processor, TableRecord } from '../processor/define.ts';
import { byFields } from '../processor/joins/repartition.ts';

/** `market.candles` of the variant `green` is `market.candles.green`; `ohlcv.late` is `ohlcv-green.late`. */
export function variantTopic(processor: string, topic: string, suffix: string): string {
  return topic.startsWith(`${processor}.`)
    ? `${variantName(processor, suffix)}${topic.slice(processor.length)}`
    : `${topic}.${suffix}`;
}

export function variantName(processor: string, suffix: string): string {
  return `${processor}-${suffix}`;
}

/**
 * The same processor under another name, beside the original: a group, state and topics of its own, the same inputs. What its fold calls its
 * outputs stays as it is. Tables that carry the original's name are orders to the original: the variant does not read them.
 *
 * @param route fields of the keys by which outputs are partitioned, when they have another number of partitions than the input.
 */
export function variantOf<In>(
  processor: Processor<In>,
  suffix: string,
  route?: readonly [string, ...string[]],
): Processor<In> {
  const { name, outputs, tables } = processor;
  const renamed = new Map(outputs.map(({ topic }) => [topic, variantTopic(name, topic, suffix)]));
  return Object.freeze({
    ...processor,
    name: variantName(name, suffix),
    ...(tables === undefined ? {} : { tables: tables.filter(({ topic }) => !topic.startsWith(`${name}.`)) }),
    outputs: outputs.map((output) => ({
      ...output,
      topic: renamed.get(output.topic) as string,
      ...(route !== undefined && output.keySchema !== null ? { partitionBy: byFields(...route) } : {}),
    })),
    create: (context: Context<In>) =>
      processor.create(
        over(context, {
          processor: { name, version: processor.version },
          emit: (topic, key, value) => context.emit(renamed.get(topic) ?? topic, key, value),
        }),
      ),
  });
}

/** The same processor, reading other topics in place of its inputs and tables: its fold knows them by the names it declared. */
export function aliased<In>(processor: Processor<In>, targets: ReadonlyMap<string, string>): Processor<In> {
  const { inputs, tables = [] } = processor;
  const used = [...inputs, ...tables].filter(({ topic }) => targets.has(topic));
  if (used.length === 0) return processor;
  const names = new Map(used.map(({ topic }) => [targets.get(topic) as string, topic]));
  const target = <T extends { readonly topic: string }>(each: T): T => ({
    ...each,
    topic: targets.get(each.topic) ?? each.topic,
  });
  const named = <T extends InputRecord<In> | TableRecord>(record: T): T => ({
    ...record,
    topic: names.get(record.topic) ?? record.topic,
  });
  const [first, ...others] = inputs;
  return Object.freeze({
    ...processor,
    inputs: [target(first), ...others.map(target)] as const,
    ...(processor.tables === undefined ? {} : { tables: tables.map(target) }),
    create: (context: Context<In>): Fold<In> => {
      const fold = processor.create(
        over(context, {
          reread: (range, visit, done) => context.reread(target(range), (record) => visit(named(record)), done),
          follow: (topic, visit) => context.follow(targets.get(topic) ?? topic, (record) => visit(named(record))),
        }),
      );
      return over(fold, {
        record: (record) => fold.record(named(record)),
        ...(fold.duplicate === undefined ? {} : { duplicate: (record) => fold.duplicate?.(named(record)) }),
        ...(fold.backfilled === undefined ? {} : { backfilled: (record) => fold.backfilled?.(named(record)) }),
        ...(fold.table === undefined ? {} : { table: (record) => fold.table?.(named(record)) }),
      } as Partial<Fold<In>>);
    },
  });
}

/** The object, with some members replaced; the others are its own, getters and private state included. */
function over<T extends object>(object: T, members: Partial<T>): T {
  const bound = new Map<PropertyKey, unknown>();
  return new Proxy(object, {
    get(target, name) {
      const replaced: unknown = Reflect.get(members, name) ?? bound.get(name);
      if (replaced !== undefined) return replaced;
      const own: unknown = Reflect.get(target, name, target);
      if (typeof own !== 'function') return own;
      const method: unknown = own.bind(target);
      bound.set(name, method);
      return method;
    },
  });
}
