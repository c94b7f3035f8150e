/** What all partitions of a sink may buffer together. Whoever has at least its share when it is used up cuts early. */
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

  /** Notes what a partition has buffered now; 0 forgets it. A partition's next owner replaces what the one before had. */
  set(partition: string, bytes: number): void {
    this.#total += bytes - (this.#used.get(partition) ?? 0);
    if (bytes === 0) this.#used.delete(partition);
    else this.#used.set(partition, bytes);
  }

  /** Whether this partition should cut now. The largest always has its share, so somebody does, and small ones are left to grow. */
  exceededBy(partition: string): boolean {
    return this.#total > this.#limit && (this.#used.get(partition) ?? 0) >= this.#total / this.#used.size;
  }
}
