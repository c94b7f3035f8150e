import type { Tallies } from './tally.ts';

/** The result of a check. `differences` counts all. `examples` has the first ones, each with its key and both sides. */
export interface Check {
  readonly name: string;
  /** The compared things, e.g. `100000 trades`. */
  readonly subject: string;
  readonly differences: number;
  readonly examples: readonly string[];
  readonly seconds: number;
  /** Nothing was compared; the subject says why. */
  readonly skipped?: boolean;
  /** Rows and row hashes of the compared places. */
  readonly tallies?: Tallies;
  /** Lost objects, which could not be compared. */
  readonly lost?: readonly LostObject[];
}

/** An object that nothing could produce again, and that was given up. */
export interface LostObject {
  readonly key: string;
  readonly partition: number;
  readonly day: string;
  /** Offsets of its rows, both inclusive. If it was a compacted object, listed rows may lie between the two. */
  readonly offsets: { readonly first: bigint; readonly last: bigint };
  readonly rows: bigint;
  readonly rowHash: string;
}

export const maxExamples = 10;

/** Collects differences: it keeps the first ones and counts all. */
export class Differences {
  readonly examples: string[] = [];
  count = 0;

  add(example: string, times = 1): void {
    this.count += times;
    if (this.examples.length < maxExamples) this.examples.push(example);
  }

  /** @param startedMs from `performance.now()` */
  check(name: string, subject: string, startedMs: number, tallies?: Tallies): Check {
    return {
      name,
      subject,
      differences: this.count,
      examples: this.examples,
      seconds: (performance.now() - startedMs) / 1000,
      ...(tallies === undefined ? {} : { tallies }),
    };
  }
}
