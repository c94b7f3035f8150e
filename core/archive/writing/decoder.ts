import { AvroDecoder } from '../../avro/decoder.ts';
import type { Schemas } from '../../avro/schemas.ts';
import type { Table } from '../rows/tables.ts';
import { type Extension, extensionOf, type SourceColumn } from './source-columns.ts';

/** Decodes the records of an archived topic with all columns that their writers gave them, our schema's and further ones. */
export class TableDecoder extends AvroDecoder<object> {
  readonly #extensions: WeakMap<object, Extension>;

  constructor(schemas: Schemas, table: Table) {
    const extensions = new WeakMap<object, Extension>();
    super(schemas, table.schema, {
      extend: (writer) => {
        const extension = extensionOf(table.schema, writer, table.rowRecord);
        if (extension !== undefined) extensions.set(writer, extension);
        return extension?.schema;
      },
    });
    this.#extensions = extensions;
  }

  /** The columns of a schema id beyond the table's own. Undefined for an id whose records cannot be read. */
  columnsOf(id: number): readonly SourceColumn[] | undefined {
    const writer = this.writerOf(id);
    return writer === undefined ? undefined : (this.#extensions.get(writer)?.columns ?? []);
  }
}
