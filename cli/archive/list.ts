/** The archive's list, for commands. */
import { type Command, InvalidArgumentError } from 'commander';
import { readDayObjects } from '../../core/archive/listing/day-objects.ts';
import { inOrder, type ListedObject, listObjects } from '../../core/archive/listing/objects.ts';
import { openStore, urlOfKey } from '../../core/archive/s3/open.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { loadConfig } from '../settings/config.ts';

/** Days of rows, `YYYY-MM-DD`, inclusive. */
export interface Days {
  readonly day?: string;
  readonly from?: string;
  readonly to?: string;
}

/** The listed objects of the topics, in order. With days it reads their manifests, otherwise the list. */
export async function listed(
  command: Command,
  topics: readonly ArchivedTopic[],
  days: Days,
  signal: AbortSignal,
): Promise<ReadonlyMap<ArchivedTopic, readonly ListedObject[]>> {
  const within = daysOf(days);
  const all = days.day === undefined && days.from === undefined && days.to === undefined;
  const config = loadConfig(command);
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: config.kafka.clientId });
  await using registry = new Registry({ url: config.registry.url, signal });
  await using store = openStore(config.s3);
  const sources = { log, schemas: registry, store, signal };
  const found = new Map<ArchivedTopic, readonly ListedObject[]>();
  for (const topic of topics) {
    const own: ListedObject[] = [];
    if (all) own.push(...(await listObjects(log, registry, topic, { signal })));
    else for await (const { objects } of readDayObjects(sources, topic, { days: within })) own.push(...objects);
    found.set(topic, own.sort(inOrder));
  }
  return found;
}

/** The filter for days. @throws MillraceError CONFIG_INVALID: the options exclude each other */
export function daysOf({ day, from, to }: Days): (day: string) => boolean {
  if (day !== undefined && (from !== undefined || to !== undefined)) {
    throw new MillraceError('CONFIG_INVALID', '--day is one day, --from and --to are a range of days', {
      remedy: 'give --day, or --from and --to',
    });
  }
  if (from !== undefined && to !== undefined && from > to) {
    throw new MillraceError('CONFIG_INVALID', `--from ${from} is after --to ${to}`, { remedy: 'exchange them' });
  }
  const [first, last] = [day ?? from ?? '', day ?? to ?? '9999-12-31'];
  return (each) => first <= each && each <= last;
}

export function urlOf(s3: Pick<Config['s3'], 'directory' | 'bucket'>, { key }: Pick<ListedObject, 'key'>): string {
  return urlOfKey(s3, key);
}

/** Parses an option, for commander. @throws InvalidArgumentError */
export function archivedTopic(text: string): ArchivedTopic {
  const found = archivedTopics.find((topic) => topic === text);
  if (found === undefined) throw new InvalidArgumentError(`Give one of ${archivedTopics.join(', ')}.`);
  return found;
}

/** Parses an option, for commander. @throws InvalidArgumentError */
export function dayOf(text: string): string {
  const time = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== text) {
    throw new InvalidArgumentError('Write a day as YYYY-MM-DD.');
  }
  return text;
}
