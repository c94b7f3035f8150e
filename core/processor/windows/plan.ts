import { MillraceError } from '../../base/errors.ts';
import { Tumbling, type Windows } from './windows.ts';

/** One kind of window of a plan. */
export interface Level {
  /** Position in the plan: what a level is made of comes before it. */
  readonly index: number;
  readonly windows: Windows;
  /** The level whose closed windows are merged into this one's; undefined when it takes the records themselves. */
  readonly source: Level | undefined;
  /** The levels that this one's windows are merged into. */
  readonly parents: readonly Level[];
  /** How many of its windows the longest window of the plan touches, at most. */
  readonly share: number;
}

/**
 * How windows of several lengths share the work: a record is added to the smallest only, and a window that closes is merged into the
 * larger ones that it lies in. 1s → 1m → 5m → 15m → 1h → 1d is one chain; a level that no smaller one divides takes the records itself.
 */
export class Plan {
  /** Smallest first. */
  readonly levels: readonly Level[];
  /** The levels that take records themselves. */
  readonly leaves: readonly Level[];
  /** Levels that have no window for some instants. */
  readonly gappy: readonly Level[];
  /** Tells plans apart: the names of the levels. */
  readonly name: string;

  /** @throws MillraceError CONFIG_INVALID when there is none, or two that are the same. */
  constructor(all: readonly Windows[]) {
    if (all.length === 0) throw new MillraceError('CONFIG_INVALID', 'at least one interval is needed');
    const sorted = all.toSorted((a, b) => a.longest - b.longest || b.grain - a.grain);
    const levels: (Level & { parents: Level[] })[] = [];
    for (const [index, windows] of sorted.entries()) {
      const twin = levels.find((level) => same(level.windows, windows));
      if (twin !== undefined) {
        const names = `${twin.windows.name} and ${windows.name}`;
        throw new MillraceError('CONFIG_INVALID', `the intervals ${names} are the same length`);
      }
      // Sorted by length, so the last that fits is the longest.
      const source = levels.findLast((level) => feeds(level.windows, windows));
      const share = Math.ceil((sorted.at(-1)?.longest ?? 0) / windows.longest) + 1;
      const level = { index, windows, source, parents: [], share };
      source?.parents.push(level);
      levels.push(level);
    }
    this.levels = levels;
    this.leaves = levels.filter(({ source }) => source === undefined);
    this.gappy = levels.filter(({ windows }) => windows.gappy);
    this.name = levels.map(({ windows }) => windows.name).join(' ');
  }

  level(name: string): Level | undefined {
    return this.levels.find(({ windows }) => windows.name === name);
  }
}

/** Whether each window of `small` lies in exactly those windows of `large` that hold its start. */
function feeds(small: Windows, large: Windows): boolean {
  return small instanceof Tumbling && small.size < large.longest && large.grain % small.size === 0;
}

function same(a: Windows, b: Windows): boolean {
  return a.name === b.name || (a instanceof Tumbling && b instanceof Tumbling && a.size === b.size);
}
