/** The order in which jest runs the files of a lane: the longest first, so that no lane is alone with a long file at the end. */
import { secondsOf } from './lanes.ts';

export default class LongestFirst {
  sort<T extends { readonly path: string }>(tests: readonly T[]): T[] {
    return [...tests].sort((a, b) => secondsOf(b.path) - secondsOf(a.path));
  }

  /** Nothing is remembered: the lanes say how long a file takes. */
  cacheResults(): void {}
}
