import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { AvroDecoder, schemaIdOf } from '../avro/decoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { MillraceError } from '../base/errors.ts';
import { type Log, readRange } from '../log/log.ts';
import { type Redriven, redrivenOf } from '../log/redriven.ts';
import { formatTimestamp } from '../values/time.ts';

/** A dead letter and where it lies. */
export interface Letter extends DeadLetter {
  /** `<processor>.dead`. */
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** Set when the record had been redriven before and was refused again. */
  readonly redriven: Redriven | undefined;
}

const fetch = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 };

export function deadTopic(processor: string): string {
  return `${processor}.dead`;
}

/** How operators name a letter: `partition/offset` within the processor's dead-letter topic. */
export function letterId({ partition, offset }: Pick<Letter, 'partition' | 'offset'>): string {
  return `${partition}/${offset}`;
}

/** @throws MillraceError CONFIG_INVALID */
export function parseLetterId(text: string): { partition: number; offset: bigint } {
  const match = /^(\d{1,9})\/(\d{1,18})$/.exec(text);
  if (match === null) {
    throw new MillraceError('CONFIG_INVALID', `${JSON.stringify(text)} names no dead letter`, {
      remedy: 'give partition/offset as millrace dead list shows it, such as 0/17',
    });
  }
  return { partition: Number(match[1]), offset: BigInt(match[2] as string) };
}

/**
 * All dead letters of a processor or sink, partition by partition, oldest first.
 *
 * @throws MillraceError TOPIC_MISSING, KAFKA_UNREACHABLE, REGISTRY_UNREACHABLE
 */
export async function* readLetters(
  log: Log,
  schemas: Schemas,
  processor: string,
  signal?: AbortSignal,
): AsyncGenerator<Letter> {
  const topic = deadTopic(processor);
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  for (const [partition, to] of ends.entries()) {
    yield* readRangeOf(log, schemas, { topic, partition, from: starts[partition] ?? 0n, to }, signal);
  }
}

/** One letter. @throws MillraceError CONFIG_INVALID when there is none at that place. */
export async function readLetter(
  log: Log,
  schemas: Schemas,
  processor: string,
  { partition, offset }: { readonly partition: number; readonly offset: bigint },
): Promise<Letter> {
  const topic = deadTopic(processor);
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  const [start, end] = [starts[partition], ends[partition]];
  if (start !== undefined && end !== undefined && offset >= start && offset < end) {
    for await (const letter of readRangeOf(log, schemas, { topic, partition, from: offset, to: offset + 1n })) {
      return letter;
    }
  }
  throw new MillraceError('CONFIG_INVALID', `${topic} has no dead letter ${letterId({ partition, offset })}`, {
    remedy: `millrace dead list ${processor} shows which there are`,
  });
}

async function* readRangeOf(
  log: Log,
  schemas: Schemas,
  range: { readonly topic: string; readonly partition: number; readonly from: bigint; readonly to: bigint },
  signal?: AbortSignal,
): AsyncGenerator<Letter> {
  const { topic, partition } = range;
  const decoder = new AvroDecoder<DeadLetter>(schemas, contracts.dead_letter);
  for await (const records of readRange(log, range, signal === undefined ? fetch : { ...fetch, signal })) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    for (const { offset, value, headers } of records) {
      if (value === null) continue;
      yield { ...decoder.decode(value), topic, partition, offset, redriven: redrivenOf(headers) };
    }
  }
}

/** Where the record came from at first: of a record that was redriven, before that. */
export function firstOrigin({ origin, redriven }: Letter): string {
  return redriven?.firstOrigin ?? `${origin.topic}/${origin.partition}/${origin.offset}`;
}

/** What can be said of the refused record's bytes: as its own schema reads them, else as they are. */
export interface Content {
  /** Undefined when they could not be decoded; `problem` says why. */
  readonly decoded: unknown;
  readonly problem: string | undefined;
  readonly bytes: Buffer;
}

/** @throws MillraceError REGISTRY_UNREACHABLE */
export async function contentOf(schemas: Schemas, bytes: Buffer): Promise<Content> {
  try {
    const decoder = new AvroDecoder<unknown>(schemas, null);
    const id = schemaIdOf(bytes);
    if (id !== undefined) await decoder.prepare([id]);
    return { decoded: decoder.decode(bytes), problem: undefined, bytes };
  } catch (error) {
    if (!(error instanceof MillraceError) || error.disposition === 'retry') throw error;
    return { decoded: undefined, problem: error.message, bytes };
  }
}

/** The time that operators know a letter by: that of the record that was refused. Milliseconds. */
export function formatMillis(millis: bigint): string {
  return formatTimestamp(millis * 1000n);
}
