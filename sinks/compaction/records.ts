import { replacementsTopic } from '../../core/archive/replacements.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log, Writer } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { transactionalId } from '../../core/runtime/takeover.ts';
import { formatRowHash } from '../../core/values/rowhash/rowhash.ts';
import type { ArchiveReplacement } from '../../schemas/gen/archive_replacement.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { valueSubject } from '../../schemas/topics.ts';

/** Values of the fields that a record's kind does not use. */
export const blank = Object.freeze({
  plan: null,
  partition: null,
  schema_id: 0,
  covers: 0n,
  target_bytes: 0n,
  writer_version: 0,
  replaced: [],
  objects: [],
  rows: 0n,
  bytes: 0n,
  row_hash: formatRowHash(0n),
});

/** The single writer of archive.replacements. Opening it fences the previous one. */
export class Records implements AsyncDisposable {
  readonly #writer: Writer;
  readonly #encoder: AvroEncoder<ArchiveReplacement>;
  readonly #now: () => number;

  private constructor(writer: Writer, encoder: AvroEncoder<ArchiveReplacement>, now: () => number) {
    this.#writer = writer;
    this.#encoder = encoder;
    this.#now = now;
  }

  static async open(log: Log, schemas: Schemas, now: () => number): Promise<Records> {
    const subject = valueSubject(replacementsTopic);
    const encoder = await AvroEncoder.open<ArchiveReplacement>(schemas, subject, contracts.archive_replacement);
    const id = transactionalId(groupOf('compaction'), { topic: replacementsTopic, partition: 0 });
    return new Records(await log.writer(id), encoder, now);
  }

  /** Commits the records in one transaction. Returns the offset of the first. @throws as `Writer.transact` */
  async commit(replacements: readonly ArchiveReplacement[]): Promise<bigint> {
    const timestamp = BigInt(Math.floor(this.#now()));
    const records = replacements.map((replacement) => ({
      topic: replacementsTopic,
      partition: 0,
      key: null,
      value: this.#encoder.encode(replacement),
      timestamp,
    }));
    const [written] = await this.#writer.transact({ records });
    if (written === undefined) throw new TypeError('the log does not say where it wrote the record');
    return written.baseOffset;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
  }
}
