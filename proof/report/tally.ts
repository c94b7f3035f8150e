import { addRowHashes, duckdbSum, formatRowHash } from '../../core/values/rowhash/rowhash.ts';

/** Who says what is there. `objects` are the object records of the archive, `archive` is what the listed files hold. */
export type Place = 'postgres' | 'kafka' | 'objects' | 'archive' | 'hotStore';

export interface Tally {
  readonly rows: number;
  /** Of all these rows, in whatever order: 16 hexadecimal digits (core/values/rowhash/rowhash.ts). */
  readonly rowHash: string;
}

/** Of one UTC day of event time and one partition of the topic, what each place has: none is `rows: 0`. */
export interface TallyLine {
  /** `YYYY-MM-DD` */
  readonly day: string;
  /** Null for rows that the topic does not have. */
  readonly partition: number | null;
  readonly places: Readonly<Partial<Record<Place, Tally>>>;
}

/** Places that hold the same rows have equal tallies; where they differ, rows and row hash say on which day, in which partition. */
export interface Tallies {
  /** The topic or table, `cdc.public.trades` or `hot.candles`. */
  readonly table: string;
  /** What the row hash covers. */
  readonly columns: 'data' | 'data and lineage';
  /** By day and partition. */
  readonly lines: readonly TallyLine[];
}

/** Rows of one day and partition, as a query adds them up. */
export interface Counted {
  readonly day: string;
  readonly partition: number | null;
  readonly rows: bigint;
  readonly hash: bigint;
}

/** Puts the tallies of several places side by side. In memory is a line per day and partition. */
export class TallyBook {
  readonly #places: readonly Place[];
  readonly #lines = new Map<string, { day: string; partition: number | null; sums: Map<Place, Sum> }>();
  readonly #totals = new Map<Place, Sum>();

  /** @param places those that are compared */
  constructor(...places: readonly Place[]) {
    this.#places = places;
  }

  add(place: Place, { day, partition, rows, hash }: Counted): void {
    const id = `${day}/${partition}`;
    const line = this.#lines.get(id) ?? { day, partition, sums: new Map<Place, Sum>() };
    this.#lines.set(id, line);
    line.sums.set(place, plus(line.sums.get(place), rows, hash));
    this.#totals.set(place, plus(this.#totals.get(place), rows, hash));
  }

  /** What DuckDB gives for `duckdbTally`. */
  addAll(place: Place, found: readonly Record<string, unknown>[]): void {
    for (const { day, partition, rows, hash } of found) {
      this.add(place, {
        day: String(day),
        partition: partition === null ? null : Number(partition),
        rows: BigInt(String(rows)),
        hash: BigInt(String(hash)),
      });
    }
  }

  /** Of all days and partitions. */
  total(place: Place): Sum {
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

/** An SQL query of DuckDB for what a relation of `t` (event time, microseconds), `p` (partition) and `h` (row hash) comes to by day and partition. */
export function duckdbTally(relation: string): string {
  return `SELECT make_timestamp(t)::DATE::VARCHAR AS day, p AS partition, count(*) AS rows, ${duckdbSum('h')} AS hash
    FROM ${relation} GROUP BY ALL`;
}

/** The lines on which the places do not agree. */
export function differing({ lines }: Tallies): readonly TallyLine[] {
  return lines.filter(({ places }) => {
    const [first, ...others] = Object.values(places);
    return others.some(({ rows, rowHash }) => rows !== first?.rows || rowHash !== first.rowHash);
  });
}

/** For people. */
export function describeLine({ day, partition, places }: TallyLine): string {
  const each = Object.entries(places).map(([place, { rows, rowHash }]) => `${place} ${rows} rows ${rowHash}`);
  return `${day}, ${partition === null ? 'no partition' : `partition ${partition}`}: ${each.join(', ')}`;
}
