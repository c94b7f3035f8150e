import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { Redrive } from '../../schemas/gen/redrive.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { type Log, type OutRecord, readRange } from '../log/log.ts';
import { redrivenHeaders } from '../log/redriven.ts';
import type { LetterFilter } from './filter.ts';
import { deadTopic, firstOrigin, type Letter, readLetters } from './letters.ts';

const redrivesTopic = 'redrives';
/** One owner at a time: whoever opens it fences the one before, and nothing of that one can follow. */
const writerId = 'millrace.redrive';
const lettersPerTransaction = 500;

export interface RedriveOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly processor: string;
  readonly filter: LetterFilter;
  /** A record that was tried so often is left alone, so that a hopeless one does not go round for ever. */
  readonly maxAttempts: number;
  readonly signal?: AbortSignal;
}

export type Verdict =
  | { readonly action: 'redrive' }
  /** Sent to its origin before; once is all a letter gets. If it was refused again, that is a letter of its own. */
  | { readonly action: 'done'; readonly atMicros: bigint }
  | { readonly action: 'refuse'; readonly why: string };

export interface Planned {
  readonly letter: Letter;
  readonly verdict: Verdict;
}

/** What was redriven when, by `partition/offset` of the letter in its topic. */
export async function readRedrives(
  log: Log,
  schemas: Schemas,
  letterTopic: string,
): Promise<ReadonlyMap<string, Redrive>> {
  const decoder = new AvroDecoder<Redrive>(schemas, contracts.redrive);
  const found = new Map<string, Redrive>();
  const [[from = 0n], [to = 0n]] = await Promise.all([log.starts(redrivesTopic), log.ends(redrivesTopic)]);
  const range = { topic: redrivesTopic, partition: 0, from, to };
  for await (const records of readRange(log, range, { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 })) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    for (const { value } of records) {
      if (value === null) continue;
      const redrive = decoder.decode(value);
      if (redrive.letter_topic !== letterTopic) continue;
      found.set(`${redrive.letter_partition}/${redrive.letter_offset}`, redrive);
    }
  }
  return found;
}

/** What redriving would do, letter by letter. Changes nothing. */
export async function* planRedrive(options: RedriveOptions): AsyncGenerator<Planned> {
  const { log, schemas, processor, filter, maxAttempts, signal } = options;
  const done = await readRedrives(log, schemas, deadTopic(processor));
  for await (const letter of readLetters(log, schemas, processor, signal)) {
    if (filter(letter)) yield { letter, verdict: judge(letter, done, maxAttempts) };
  }
}

function judge(letter: Letter, done: ReadonlyMap<string, Redrive>, maxAttempts: number): Verdict {
  const before = done.get(`${letter.partition}/${letter.offset}`);
  if (before !== undefined) return { action: 'done', atMicros: before.redriven_at };
  if (letter.value === null) {
    return { action: 'refuse', why: 'its bytes could not be read, so there is nothing to send' };
  }
  if (letter.attempts >= maxAttempts) {
    return { action: 'refuse', why: `tried ${letter.attempts} times, and ${maxAttempts} is the limit` };
  }
  return { action: 'redrive' };
}

/**
 * Sends dead letters to the partitions they came from, marked, each once: a record and the note that it was sent are one transaction, and a
 * second run, also one beside this, finds the notes of the first. Nothing is removed from the dead-letter topic.
 *
 * @param nowMicros the operator's clock; it is noted, and decides nothing.
 * @yields what became of each letter, once that is committed.
 * @throws MillraceError FENCED when somebody else began to redrive meanwhile; what was sent until then is noted.
 */
export async function* redrive(options: RedriveOptions & { readonly nowMicros: bigint }): AsyncGenerator<Planned> {
  const { log, schemas, nowMicros } = options;
  const encoder = await AvroEncoder.open<Redrive>(schemas, `${redrivesTopic}-value`, contracts.redrive);
  // Opened before the notes are read: from here on no other run adds to them.
  await using writer = await log.writer(writerId);
  let portion: Letter[] = [];
  const send = async (): Promise<Planned[]> => {
    const sent = portion;
    portion = [];
    const notes = sent.map((letter) => noteOf(letter, nowMicros, encoder));
    await writer.transact({ records: [...sent.map(recordOf), ...notes] });
    return sent.map((letter) => ({ letter, verdict: { action: 'redrive' } }));
  };
  for await (const planned of planRedrive(options)) {
    if (planned.verdict.action !== 'redrive') yield planned;
    else if (portion.push(planned.letter) >= lettersPerTransaction) yield* await send();
  }
  if (portion.length > 0) yield* await send();
}

/** The record as it was, timestamp included: log time of a derived record is its timestamp. */
function recordOf(letter: Letter): OutRecord {
  const { processor, origin, key, value, attempts, topic, partition, offset } = letter;
  return {
    topic: origin.topic,
    partition: origin.partition,
    key,
    value,
    timestamp: origin.timestamp,
    headers: redrivenHeaders({
      processor,
      attempts,
      firstOrigin: firstOrigin(letter),
      letter: `${topic}/${partition}/${offset}`,
    }),
  };
}

function noteOf(letter: Letter, nowMicros: bigint, encoder: AvroEncoder<Redrive>): OutRecord {
  const { topic, partition, offset, origin, attempts } = letter;
  const value = encoder.encode({
    letter_topic: topic,
    letter_partition: partition,
    letter_offset: offset,
    origin_topic: origin.topic,
    origin_partition: origin.partition,
    origin_offset: origin.offset,
    attempts,
    redriven_at: nowMicros,
  });
  return { topic: redrivesTopic, partition: 0, key: null, value, timestamp: nowMicros / 1000n };
}
