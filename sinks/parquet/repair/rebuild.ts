import type { ListedObject } from '../../../core/archive/listing/objects.ts';
import { tables } from '../../../core/archive/rows/tables.ts';
import { TableDecoder } from '../../../core/archive/writing/decoder.ts';
import { formOf, forms } from '../../../core/archive/writing/writer.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { readRange } from '../../../core/log/log.ts';
import { type ArchivedTopic, topic as topicEntry } from '../../../schemas/topics.ts';
import { RecordBuffer } from '../building/buffer.ts';
import { type BuiltObject, buildObjects } from '../building/build.ts';
import type { RepairSources } from './examine.ts';

const fetchOptions = { maxWaitMs: 250, maxBytesPerPartition: 512 * 1024 };

const gone = 'the rows are gone from the log';

/**
 * Rebuilds objects of the sink from the log. Their records name the cut, the schema id and the writer version, which give the same bytes.
 * It caches the objects of the last cut, because callers ask for a cut's days one after the other.
 */
export class LogRebuild {
  readonly #sources: RepairSources;
  #last: { readonly id: string; readonly built: readonly BuiltObject[] } | undefined;

  constructor(sources: RepairSources) {
    this.#sources = sources;
  }

  /** The object's bytes. @throws MillraceError REPAIR_IMPOSSIBLE naming what is missing or differs. */
  async bytesOf(object: ListedObject): Promise<Buffer> {
    const { key, topic, partition, from_offset, first_offset, writer_version } = object;
    if (forms.every(({ version }) => version !== writer_version)) {
      throw impossible(
        `${key} was written by version ${writer_version}, which this version cannot`,
        'run a newer version of Millrace',
      );
    }
    const start = (await this.#sources.log.starts(topic))[partition] ?? 0n;
    if (start > first_offset) {
      throw impossible(`${key}: ${topic}/${partition} is kept from offset ${start} on`, gone);
    }
    const found: BuiltObject[] = [];
    // The range may begin with earlier committed records that had no row. Only the sink knew where these ended, so both starts are tried.
    for (const from of new Set([from_offset, first_offset])) {
      if (from < start) continue;
      const same = (await this.#build(object, from)).find(
        (each) => each.day === object.day && each.firstOffset === first_offset,
      );
      if (same?.sha256 === object.sha256) return same.bytes;
      if (same !== undefined) found.push(same);
    }
    if (found.some(({ rowHash, rows }) => rowHash === object.row_hash && BigInt(rows) === object.rows)) {
      throw impossible(
        `${key}: the log gives the same rows in other bytes`,
        'another zstd compressed them: run the repair with the version of Node that the sink had then',
      );
    }
    if (topicEntry(topic as ArchivedTopic).cleanup === 'compact') {
      throw impossible(`${key}: ${topic} is compacted, and the log has not all rows of its record`, gone);
    }
    throw impossible(
      `${key}: the log gives other rows than its record says`,
      'millrace verify names them; nothing was changed',
    );
  }

  async #build(object: ListedObject, from: bigint): Promise<readonly BuiltObject[]> {
    const { topic, partition, to_offset: to, schema_id: schemaId, writer_version } = object;
    const id = `${topic}/${partition}/${from}/${to}/${schemaId}/${writer_version}`;
    if (this.#last?.id === id) return this.#last.built;
    this.#last = undefined;
    const { log, schemas, signal } = this.#sources;
    const table = tables[topic as ArchivedTopic];
    const records = new RecordBuffer();
    const range = { topic, partition, from, to };
    for await (const portion of readRange(log, range, { ...fetchOptions, signal })) {
      for (const record of portion) records.push(record);
    }
    const form = formOf(writer_version);
    const decoder = new TableDecoder(schemas, table);
    const { objects } = await buildObjects(table, { topic, partition }, records, decoder, { form, schemaId, signal });
    this.#last = { id, built: objects };
    return objects;
  }
}

export function impossible(message: string, remedy: string): MillraceError {
  return new MillraceError('REPAIR_IMPOSSIBLE', message, { remedy });
}
