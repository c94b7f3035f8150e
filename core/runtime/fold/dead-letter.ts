import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import { schemaIdOf } from '../../avro/decoder.ts';
import type { AvroEncoder } from '../../avro/encoder.ts';
import type { MillraceError } from '../../base/errors.ts';
import type { LogRecord, OutRecord, TopicPartition } from '../../log/log.ts';
import { redrivenHeaders, redrivenOf } from '../../log/redriven.ts';

/** A record that a processor or sink refuses. */
export interface Refusal {
  readonly processor: string;
  /** Where the record is; the letter goes to the partition of the same number. */
  readonly at: TopicPartition;
  readonly record: LogRecord;
  readonly error: MillraceError;
  readonly lsn: bigint | null;
}

/** The record for `<processor>.dead`. Of a record that was redriven it tells how often it was tried, and where it came from at first. */
export function deadLetter(
  encoder: AvroEncoder<DeadLetter>,
  { processor, at, record, error, lsn }: Refusal,
): OutRecord {
  const { offset, timestamp, key, value, headers } = record;
  const before = redrivenOf(headers);
  const redriven = before?.processor === processor ? before : undefined;
  const letter = encoder.encode({
    processor,
    origin: { topic: at.topic, partition: at.partition, offset, timestamp },
    reason: error.code,
    error: error.message,
    key,
    value,
    schema_id: value === null ? null : (schemaIdOf(value) ?? null),
    lsn,
    attempts: (redriven?.attempts ?? 0) + 1,
  });
  return {
    topic: `${processor}.dead`,
    partition: at.partition,
    key: null,
    value: letter,
    timestamp,
    ...(redriven === undefined ? {} : { headers: redrivenHeaders(redriven) }),
  };
}
