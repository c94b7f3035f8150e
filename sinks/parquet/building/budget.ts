/** The memory that all partitions of a sink may buffer together. When it is used up, partitions with at least an equal share cut early. */
export class Budget {
  readonly #limit: number;
  readonly #used = new Map<string, number>();
  #total = 0;

  /** @param limit bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get total(): number {
    return this.#total;
  }

  /** Records the buffered bytes of a partition; 0 forgets it. The value of a new owner replaces the previous owner's. */
  set(partition: string, bytes: number): void {
    this.#total += bytes - (this.#used.get(partition) ?? 0);
    if (bytes === 0) this.#used.delete(partition);
    else this.#used.set(partition, bytes);
  }

  /** Whether this partition should cut now. The largest always has its share, so at least one cuts, and small ones keep growing. */
  exceededBy(partition: string): boolean {
    return this.#total > this.#limit && (this.#used.get(partition) ?? 0) >= this.#total / this.#used.size;
  }
}
