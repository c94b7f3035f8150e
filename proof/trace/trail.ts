/**
 * What was searched and what was found wrong on the way. A trace that finds nothing is worth what it says about where it looked.
 */

/** One place that was looked through. */
export interface SearchedRange {
  /** `cdc.public.trades/3`, `market.candles/3`, `archive of cdc.public.trades/3`, `Postgres public.trades`. */
  readonly where: string;
  /** What of it: offsets `[from, to)`; null where there are none. */
  readonly from: bigint | null;
  readonly to: bigint | null;
  /** Records or objects that were looked at, and those of them that belong to what was asked for. */
  records: number;
  found: number;
  /** What limits the search: retention, an option, a time. */
  readonly note: string | null;
  /** Retention has deleted what was before. */
  readonly cut: boolean;
}

export interface TraceFinding {
  /**
   * `difference`: two stores contradict each other, which must not be. `pending`: a later stage has not reached it yet. `gone`: retention has
   * deleted it, so nobody can tell any more.
   */
  readonly kind: 'difference' | 'pending' | 'gone';
  readonly what: string;
}

export class Trail {
  readonly searched: SearchedRange[] = [];
  readonly findings: TraceFinding[] = [];

  search(
    where: string,
    range: { readonly from: bigint; readonly to: bigint } | null,
    note: string | null = null,
    cut = false,
  ): SearchedRange {
    const searched = { where, from: range?.from ?? null, to: range?.to ?? null, records: 0, found: 0, note, cut };
    this.searched.push(searched);
    return searched;
  }

  difference(what: string): void {
    this.#add('difference', what);
  }

  pending(what: string): void {
    this.#add('pending', what);
  }

  gone(what: string): void {
    this.#add('gone', what);
  }

  /** No two stores contradict each other. */
  get ok(): boolean {
    return this.findings.every(({ kind }) => kind !== 'difference');
  }

  #add(kind: TraceFinding['kind'], what: string): void {
    if (!this.findings.some((each) => each.what === what)) this.findings.push({ kind, what });
  }
}
