/** Messages of Postgres' logical decoding plugin `pgoutput`, protocol version 1, as far as rows are concerned. */
import { MillraceError } from '../../core/base/errors.ts';

/** Values in Postgres' text format, by column; null is null. */
export type Tuple = ReadonlyMap<string, string | null>;

export interface RowChange {
  /** `schema.table` */
  readonly table: string;
  readonly op: 'c' | 'u' | 'd';
  /** As REPLICA IDENTITY FULL gives it: of updates and deletes. */
  readonly before: Tuple | undefined;
  readonly after: Tuple | undefined;
}

interface Relation {
  readonly table: string;
  readonly columns: readonly string[];
}

/** Remembers the tables it was told of, so messages have to come in their order. */
export class PgOutput {
  readonly #relations = new Map<number, Relation>();

  /** Undefined for what is no change of a row: begin, commit, relation, truncate. @throws MillraceError BAD_RECORD */
  decode(message: Buffer): RowChange | undefined {
    const reader = new Reader(message);
    switch (reader.char()) {
      case 'R': {
        const id = reader.int32();
        const table = `${reader.text()}.${reader.text()}`;
        reader.skip(1); // replica identity
        const columns = Array.from({ length: reader.int16() }, () => {
          reader.skip(1); // part of the key
          const name = reader.text();
          reader.skip(8); // type, modifier
          return name;
        });
        this.#relations.set(id, { table, columns });
        return undefined;
      }
      case 'I': {
        const relation = this.#relation(reader.int32());
        reader.char();
        return { table: relation.table, op: 'c', before: undefined, after: reader.tuple(relation.columns) };
      }
      case 'U': {
        const relation = this.#relation(reader.int32());
        const before = reader.char() === 'N' ? undefined : reader.tuple(relation.columns);
        if (before !== undefined) reader.char();
        return { table: relation.table, op: 'u', before, after: reader.tuple(relation.columns) };
      }
      case 'D': {
        const relation = this.#relation(reader.int32());
        reader.char();
        return { table: relation.table, op: 'd', before: reader.tuple(relation.columns), after: undefined };
      }
      default:
        return undefined;
    }
  }

  #relation(id: number): Relation {
    const relation = this.#relations.get(id);
    if (relation === undefined)
      throw new MillraceError('BAD_RECORD', `pgoutput names relation ${id} before it is told`);
    return relation;
  }
}

class Reader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  char(): string {
    return String.fromCharCode(this.#buffer[this.#at++] ?? 0);
  }

  int16(): number {
    this.#at += 2;
    return this.#buffer.readInt16BE(this.#at - 2);
  }

  int32(): number {
    this.#at += 4;
    return this.#buffer.readInt32BE(this.#at - 4);
  }

  /** Ends with a zero byte. */
  text(): string {
    const end = this.#buffer.indexOf(0, this.#at);
    const text = this.#buffer.toString('utf8', this.#at, end);
    this.#at = end + 1;
    return text;
  }

  skip(bytes: number): void {
    this.#at += bytes;
  }

  tuple(columns: readonly string[]): Tuple {
    const count = this.int16();
    const values = new Map<string, string | null>();
    for (let i = 0; i < count; i++) {
      const name = columns[i] ?? '';
      const kind = this.char();
      if (kind === 'n') values.set(name, null);
      if (kind !== 't') continue; // an unchanged TOAST value has no place in the map
      const length = this.int32();
      values.set(name, this.#buffer.toString('utf8', this.#at, this.#at + length));
      this.#at += length;
    }
    return values;
  }
}
