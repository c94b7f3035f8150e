/** Change records in the connector's form. They have `version: millrace`, so that they can be told from Debezium's. */
import type { RowColumn, Text } from '../columns/row.ts';

/** One difference. `r`: the row. `u`: the row now, and as the log has it. `d`: the row as the log has it. */
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
  /** Start of the new slot. */
  readonly lsn: bigint;
  /** LSN of the record: before every change that the slot delivers. */
  readonly place: bigint;
  /** A transaction that has ended by the slot's start, so any visibility check finds the change visible. */
  readonly tx: bigint;
  /** Creation time of the records, microseconds. */
  readonly at: bigint;
  /** `source.snapshot`. Records with `incremental` are never folded, whatever the operation. */
  readonly snapshot: 'true' | 'incremental';
}

/**
 * The record's sequence lies just before the new slot's first commit: after all captured changes and before all later ones. The same holds
 * for its LSN, which is also before those of transactions open at the slot's start. So the newest change of a row has the greatest LSN.
 * Change identities stay distinct, because Postgres' own LSNs are multiples of 8.
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

/** Dropped columns are left out: the encoder writes their defaults. */
function rowOf(row: Readonly<Record<string, Text>>, { columns }: EnvelopeOptions): object {
  const values: Record<string, unknown> = {};
  for (const { name, toAvro } of columns) {
    const text = row[name];
    values[name] = text === null || text === undefined ? null : toAvro(text);
  }
  return values;
}
