import { addRowHashes, duckdbSum, formatRowHash } from '../../core/values/rowhash/rowhash.ts';

/** The place of the counted rows. `objects`: the archive's object records. `archive`: the content of the listed files. */
export type TallySource = 'postgres' | 'kafka' | 'objects' | 'archive' | 'hotStore';

export interface Tally {
  readonly rows: number;
  /** Of all these rows, in any order: 16 hexadecimal digits (core/values/rowhash/rowhash.ts). */
  readonly rowHash: string;
}

/** The rows of each place, for one UTC day of event time and one partition of the topic. A place without rows has `rows: 0`. */
export interface TallyLine {
  /** `YYYY-MM-DD` */
  readonly day: string;
  /** Null for rows that are not in the topic. */
  readonly partition: number | null;
  readonly places: Readonly<Partial<Record<TallySource, Tally>>>;
}

/** Rows and row hashes by place. Places with the same rows have equal tallies. A difference shows its day and partition. */
export interface Tallies {
  /** The topic or table, `cdc.public.trades` or `hot.candles`. */
  readonly table: string;
  /** The columns in the row hash. */
  readonly columns: 'data' | 'data and lineage';
  /** By day and partition. */
  readonly lines: readonly TallyLine[];
}

/** Rows of one day and partition, as a query sums them. */
export interface TallyRow {
  readonly day: string;
  readonly partition: number | null;
  readonly rows: bigint;
  readonly hash: bigint;
}

/** Collects the tallies of several places. It holds one line per day and partition in memory. */
export class TallyBook {
  readonly #places: readonly TallySource[];
  readonly #lines = new Map<string, { day: string; partition: number | null; sums: Map<TallySource, Sum> }>();
  readonly #totals = new Map<TallySource, Sum>();

  /** @param places the compared places */
  constructor(...places: readonly TallySource[]) {
    this.#places = places;
  }

  add(place: TallySource, { day, partition, rows, hash }: TallyRow): void {
    const id = `${day}/${partition}`;
    const line = this.#lines.get(id) ?? { day, partition, sums: new Map<TallySource, Sum>() };
    this.#lines.set(id, line);
    line.sums.set(place, plus(line.sums.get(place), rows, hash));
    this.#totals.set(place, plus(this.#totals.get(place), rows, hash));
  }

  /** Adds the result of `duckdbTally`. */
  addAll(place: TallySource, found: readonly Record<string, unknown>[]): void {
    for (const { day, partition, rows, hash } of found) {
      this.add(place, {
        day: String(day),
        partition: partition === null ? null : Number(partition),
        rows: BigInt(String(rows)),
        hash: BigInt(String(hash)),
      });
    }
  }

  /** The sum over all days and partitions. */
  total(place: TallySource): Sum {
    return this.#totals.get(place) ?? nothing;
  }

  tallies(table: string, columns: Tallies['columns']): Tallies {
    const lines = [...this.#lines.values()].sort((a, b) =>
      a.day === b.day ? (a.partition ?? -1) - (b.partition ?? -1) : a.day < b.day ? -1 : 1,
    );
    return {
      table,
      columns,
      lines: lines.map(({ day, partition, sums }) => ({
        day,
        partition,
        places: Object.fromEntries(this.#places.map((place) => [place, tallyOf(sums.get(place) ?? nothing)])),
      })),
    };
  }
}

export interface Sum {
  readonly rows: bigint;
  /** 0 to 2^64 - 1. */
  readonly hash: bigint;
}

const nothing: Sum = { rows: 0n, hash: 0n };

function plus(sum: Sum = nothing, rows: bigint, hash: bigint): Sum {
  return { rows: sum.rows + rows, hash: addRowHashes(sum.hash, hash) };
}

function tallyOf({ rows, hash }: Sum): Tally {
  return { rows: Number(rows), rowHash: formatRowHash(hash) };
}

/** A DuckDB query that sums a relation by day and partition: `t` (event time, microseconds), `p` (partition) and `h` (row hash). */
export function duckdbTally(relation: string): string {
  return `SELECT make_timestamp(t)::DATE::VARCHAR AS day, p AS partition, count(*) AS rows, ${duckdbSum('h')} AS hash
    FROM ${relation} GROUP BY ALL`;
}

/** The lines on which the places differ. */
export function differing({ lines }: Tallies): readonly TallyLine[] {
  return lines.filter(({ places }) => {
    const [first, ...others] = Object.values(places);
    return others.some(({ rows, rowHash }) => rows !== first?.rows || rowHash !== first.rowHash);
  });
}

/** One line of text for the terminal. */
export function describeLine({ day, partition, places }: TallyLine): string {
  const each = Object.entries(places).map(([place, { rows, rowHash }]) => `${place} ${rows} rows ${rowHash}`);
  return `${day}, ${partition === null ? 'no partition' : `partition ${partition}`}: ${each.join(', ')}`;
}
