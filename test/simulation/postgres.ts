import type { Random } from './engine/random.ts';

export interface ChangeSource {
  /** Commit time, microseconds. */
  readonly ts_us: bigint;
  readonly lsn: bigint;
  readonly sequence: string;
}

/**
 * Commits as Postgres orders them and Debezium tells of them: transactions appear in the order of their commits, while their rows' LSNs
 * interleave with those of transactions before them; rows of one statement share one LSN.
 */
export class Postgres {
  readonly #random: Random;
  #now: bigint;
  #lastCommit = 1_000n;
  /** LSNs that a transaction still open had been given before the last commit. */
  #early: bigint[] = [];

  constructor(random: Random, now: bigint) {
    this.#random = random;
    this.#now = now;
  }

  /** Commit time of the last change, microseconds. */
  get now(): bigint {
    return this.#now;
  }

  pass(micros: bigint): void {
    this.#now += micros;
  }

  /** One committed transaction of so many rows. */
  transaction(rows: number): ChangeSource[] {
    const random = this.#random;
    this.#now += BigInt(random.int(0, 900));
    let lsn = this.#early.pop() ?? this.#lastCommit + BigInt(random.int(1, 20));
    const lsns: bigint[] = [];
    for (let row = 0; row < rows; row++) {
      lsns.push(lsn);
      if (!random.chance(0.5)) lsn += BigInt(random.int(1, 30));
    }
    const before = this.#lastCommit;
    const greatest = lsn > before ? lsn : before;
    this.#lastCommit = greatest + BigInt(random.int(20, 60));
    // The next transaction may have begun before this one committed.
    this.#early = random.chance(0.4) ? [greatest - BigInt(random.int(0, 15))] : [];
    return lsns.map((each) => ({ ts_us: this.#now, lsn: each, sequence: `["${before}","${each}"]` }));
  }
}
