/** Jest runs the files of a lane in the lane's order. */
import { placeOf } from './lanes.ts';

export default class LaneOrder {
  sort<T extends { readonly path: string }>(tests: readonly T[]): T[] {
    return [...tests].sort((a, b) => placeOf(a.path) - placeOf(b.path));
  }

  /** Nothing is remembered. */
  cacheResults(): void {}
}
