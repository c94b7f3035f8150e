import type { Files } from '../../archive/files.ts';

/** A row group from the footer of the file. */
export interface RowGroup {
  /** From 0. */
  readonly index: number;
  readonly rows: bigint;
  /** Compressed bytes of its columns. */
  readonly bytes: bigint;
  /** Statistics of `_offset` and `_lsn`; null where the footer has none. */
  readonly firstOffset: bigint | null;
  readonly lastOffset: bigint | null;
  readonly firstLsn: bigint | null;
  readonly lastLsn: bigint | null;
}

/** Position of a row in a file. */
export interface RowPosition {
  /** Index from 0; `rowGroups` is their number. */
  readonly rowGroup: number;
  readonly rowGroups: number;
  /** Positions in the row group and in the file, from 0. */
  readonly rowInGroup: bigint;
  readonly row: bigint;
}

/** The row groups of the single open file, in file order. */
export async function parquetGroups(files: Files): Promise<RowGroup[]> {
  const rows = await files.query(
    `SELECT row_group_id::INTEGER AS id, any_value(row_group_num_rows)::BIGINT AS n, sum(total_compressed_size)::BIGINT AS bytes,
            ${['_offset', '_lsn'].flatMap((name) => ['min', 'max'].map((end) => `max(stats_${end}_value) FILTER (path_in_schema = '${name}') AS ${end}${name}`)).join(', ')}
       FROM parquet_metadata('${files.pathOf(0)}') GROUP BY 1 ORDER BY 1`,
  );
  return rows.map((row) => ({
    index: row['id'] as number,
    rows: row['n'] as bigint,
    bytes: row['bytes'] as bigint,
    firstOffset: integer(row['min_offset']),
    lastOffset: integer(row['max_offset']),
    firstLsn: integer(row['min_lsn']),
    lastLsn: integer(row['max_lsn']),
  }));
}

/** Millrace's metadata in the footer: `millrace.topic`, `millrace.first_offset` and so on. */
export async function footer(files: Files): Promise<Readonly<Record<string, string>>> {
  const rows = await files.query(
    `SELECT decode(key) AS name, decode(value) AS text FROM parquet_kv_metadata('${files.pathOf(0)}') ORDER BY 1`,
  );
  return Object.fromEntries(
    rows
      .map(({ name, text }) => [String(name), String(text)])
      .filter(([name]) => name?.startsWith('millrace.') === true),
  );
}

/** The row group of a row of the file. */
export function placeOf(groups: readonly RowGroup[], row: bigint): RowPosition {
  let before = 0n;
  for (const { index, rows } of groups) {
    if (row < before + rows) return { rowGroup: index, rowGroups: groups.length, rowInGroup: row - before, row };
    before += rows;
  }
  throw new RangeError(`the footer's row groups have ${before} rows, and row ${row} was read`);
}

function integer(value: unknown): bigint | null {
  return typeof value === 'string' && /^-?\d+$/.test(value) ? BigInt(value) : null;
}
