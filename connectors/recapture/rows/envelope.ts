/** Change records as the connector would have written them. They say `version: millrace`, so that nobody takes them for Debezium's. */
import type { RowColumn, Text } from '../columns/row.ts';

/** What the log does not have of one row. `r`: the row. `u`: the row as it is now, and as the log has it. `d`: as the log has it. */
export interface Difference {
  readonly op: 'r' | 'u' | 'd';
  readonly before: Readonly<Record<string, Text>> | null;
  readonly after: Readonly<Record<string, Text>> | null;
  /** Commit time, microseconds. */
  readonly logTime: bigint;
}

export interface EnvelopeOptions {
  readonly columns: readonly RowColumn[];
  /** Topic prefix, database, schema and table. */
  readonly source: { readonly name: string; readonly db: string; readonly schema: string; readonly table: string };
  /** Where the new slot begins. */
  readonly lsn: bigint;
  /** The record's own LSN: before every change that the slot gives. */
  readonly place: bigint;
  /** A transaction that was over there: whoever asks whether a change is visible finds that it is. */
  readonly tx: bigint;
  /** When these records are made, microseconds. */
  readonly at: bigint;
  /** `source.snapshot`: of `incremental` nothing is folded, whatever the operation. */
  readonly snapshot: 'true' | 'incremental';
}

/**
 * The record has the sequence just before the new slot's first commit: after all that was captured, before all that will be. So has its LSN,
 * which is before those of transactions that were open where the slot begins: of the changes of one row the newest has the greatest. Change
 * identities stay apart, since Postgres' own LSNs are multiples of 8.
 */
export function envelopeOf({ op, before, after, logTime }: Difference, options: EnvelopeOptions): object {
  const { source, at } = options;
  const lsn = options.place;
  return {
    before: before === null ? null : rowOf(before, options),
    after: after === null ? null : rowOf(after, options),
    source: {
      version: 'millrace',
      connector: 'postgresql',
      ...source,
      ts_ms: logTime / 1000n,
      ts_us: logTime,
      ts_ns: logTime * 1000n,
      snapshot: options.snapshot,
      sequence: `["${options.lsn - 1n}","${lsn}"]`,
      lsn,
      txId: options.tx,
      xmin: null,
      origin: null,
      origin_lsn: null,
    },
    transaction: null,
    op,
    ts_ms: at / 1000n,
    ts_us: at,
    ts_ns: at * 1000n,
  };
}

/** Columns that the table does not have any more stay out: the encoder writes their defaults. */
function rowOf(row: Readonly<Record<string, Text>>, { columns }: EnvelopeOptions): object {
  const values: Record<string, unknown> = {};
  for (const { name, toAvro } of columns) {
    const text = row[name];
    values[name] = text === null || text === undefined ? null : toAvro(text);
  }
  return values;
}
