import { MillraceError } from '../../base/errors.ts';
import { compareSequences, parseSequence, type Sequence } from '../../capture/identity.ts';
import type { Store, StoreDefinition, TableRecord } from '../define.ts';

/** What a table reads of a Debezium change. */
export interface RowChange<R> {
  readonly op: string;
  readonly before: R | null;
  readonly after: R | null;
  readonly source: { readonly sequence: string | null };
}

/** How far one partition of the table's topic has been taken in. */
export type Mark = Sequence;

/** Which table is captured, and where its rows are kept. */
export interface CapturedTableOptions<K, R extends K> {
  readonly rows: Store<R>;
  readonly marks: Store<Mark>;
  /** The row's place in the store, of its primary key. */
  readonly keyOf: (key: K) => string;
}

/**
 * The table side of a stream–table join: the rows of a captured Postgres table as the task has read them so far. A row that is deleted is
 * gone; a row that is not there is `undefined`, and the fold says what that means.
 *
 * Changes that are delivered again after a fault would put old rows back for a while: they are recognised by their sequence, which never
 * goes back within a partition, and left out.
 */
export class CapturedTable<K, R extends K> {
  readonly #options: CapturedTableOptions<K, R>;

  constructor(options: CapturedTableOptions<K, R>) {
    this.#options = options;
  }

  /** Declares the store of marks: one small entry per partition of the table's topic. */
  static marks(name: string): StoreDefinition {
    const fields = [
      { name: 'commit', type: 'string' },
      { name: 'lsn', type: 'string' },
    ];
    return { name, schema: { type: 'record', name: 'Mark', namespace: 'millrace.state', fields } };
  }

  get size(): number {
    return this.#options.rows.size;
  }

  get(key: K): R | undefined {
    return this.#options.rows.get(this.#options.keyOf(key));
  }

  /**
   * Takes a record of the table's topic in. False for a change that was taken in before.
   *
   * @throws MillraceError BAD_RECORD for a change without its row, before anything has changed.
   */
  apply({ key, value, partition }: TableRecord<unknown, unknown>): boolean {
    const { rows, keyOf } = this.#options;
    if (value === null) {
      rows.delete(keyOf(key as K));
      return true;
    }
    const change = value as RowChange<R>;
    const row = change.op === 'd' ? change.before : change.after;
    if (row === null || row === undefined) {
      throw new MillraceError('BAD_RECORD', `a change without its row: op ${JSON.stringify(change.op)}`, {
        remedy: 'The table needs REPLICA IDENTITY FULL.',
      });
    }
    if (!this.#admit(change, partition)) return false;
    if (change.op === 'd') rows.delete(keyOf(row));
    else rows.set(keyOf(row), row);
    return true;
  }

  /** An equal sequence is another row of one statement, or the same row once more, which changes nothing. */
  #admit({ op, source }: RowChange<R>, partition: number): boolean {
    const { marks } = this.#options;
    const sequence = source.sequence === null ? undefined : parseSequence(source.sequence);
    // Rows of a snapshot say how the table is, at their place in the log, and carry no sequence of their own.
    if (sequence === undefined || op === 'r') return true;
    const mark = marks.get(String(partition));
    if (mark !== undefined) {
      const order = compareSequences(sequence, mark);
      if (order <= 0) return order === 0;
    }
    marks.set(String(partition), sequence);
    return true;
  }
}
