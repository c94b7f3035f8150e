/** The searched places, and the problems found there. A trace without a finding is only as good as its list of searched places. */

/** One searched place. */
export interface SearchedRange {
  /** `cdc.public.trades/3`, `market.candles/3`, `archive of cdc.public.trades/3`, `Postgres public.trades`. */
  readonly where: string;
  /** The searched offsets `[from, to)`; null if the place has none. */
  readonly from: bigint | null;
  readonly to: bigint | null;
  /** Records or objects that were read, and those that matched. */
  records: number;
  found: number;
  /** The limit of the search: retention, an option, a time. */
  readonly note: string | null;
  /** Whether retention has deleted earlier records. */
  readonly cut: boolean;
}

export interface TraceFinding {
  /**
   * `difference`: two stores contradict each other. `pending`: a later stage has not reached it yet. `gone`: retention has deleted it, so
   * it cannot be determined.
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

  /** Whether no two stores contradict each other. */
  get ok(): boolean {
    return this.findings.every(({ kind }) => kind !== 'difference');
  }

  #add(kind: TraceFinding['kind'], what: string): void {
    if (!this.findings.some((each) => each.what === what)) this.findings.push({ kind, what });
  }
}
