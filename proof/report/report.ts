import type { Tallies } from './tally.ts';

/** What a check found. `differences` counts all; `examples` shows the first ones, each naming its key and both sides. */
export interface Check {
  readonly name: string;
  /** What was compared, e.g. `100000 trades`. */
  readonly subject: string;
  readonly differences: number;
  readonly examples: readonly string[];
  readonly seconds: number;
  /** Nothing was compared; the subject says why. */
  readonly skipped?: boolean;
  /** Rows and row hashes of the places that were compared. */
  readonly tallies?: Tallies;
  /** What could not be compared because it is gone for good, and was given up. */
  readonly lost?: readonly LostObject[];
}

/** An object that is gone for good: nothing could make it again, and its rows were given up. */
export interface LostObject {
  readonly key: string;
  readonly partition: number;
  readonly day: string;
  /** Of its rows, both inclusive. Of what a compaction had made there may be listed rows between the two. */
  readonly offsets: { readonly first: bigint; readonly last: bigint };
  readonly rows: bigint;
  readonly rowHash: string;
}

export const maxExamples = 10;

/** Collects differences, keeps the first ones, counts all. */
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
