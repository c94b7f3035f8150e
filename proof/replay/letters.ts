import { type Table, tables } from '../../core/archive/rows/tables.ts';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { plain } from './values.ts';

/**
 * Compares dead letters by content. A refused record from an archived topic is represented by the fields that the archive keeps, instead of
 * its bytes. A record rebuilt from a row has other bytes and the same content.
 */
export class Letters {
  readonly #decoders: ReadonlyMap<string, { readonly table: Table; readonly decoder: AvroDecoder<object> }>;

  constructor(schemas: Schemas) {
    this.#decoders = new Map(
      archivedTopics.map((topic: ArchivedTopic) => {
        const table = tables[topic];
        return [topic, { table, decoder: new AvroDecoder<object>(schemas, table.schema) }];
      }),
    );
  }

  /** A letter with its readable record's content as the value; any other letter unchanged. */
  async view(letter: object): Promise<object> {
    const { origin, value } = letter as DeadLetter;
    const kept = this.#decoders.get(origin.topic);
    if (kept === undefined || value === null) return letter;
    const { table, decoder } = kept;
    const bytes = Buffer.from(value);
    try {
      const missing = decoder.missing([bytes]);
      if (missing.length > 0) await decoder.prepare(missing);
      const record = decoder.decode(bytes);
      const said = { row: rowOf(table, table.row(record)), before: rowOf(table, table.before?.(record)) };
      const { lsn, op, sourceTime } = table.lineage(record, { timestamp: origin.timestamp });
      return { ...letter, key: null, schema_id: null, value: plain({ ...said, lsn, op, sourceTime }) };
    } catch (error) {
      if (error instanceof MillraceError && error.disposition === 'deadLetter') return letter;
      throw error;
    }
  }
}

function rowOf({ columns }: Table, row: object | undefined): unknown {
  return row === undefined ? null : columns.map((column) => column.read(row));
}
