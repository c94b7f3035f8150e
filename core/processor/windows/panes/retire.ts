import type { PaneState } from '../aggregation.ts';
import { type Level, Plan } from '../plan.ts';
import { parseWindows, Tumbling, type Windows } from '../windows.ts';
import type { Owner } from './pane.ts';

/** A window of an interval that is no longer configured. */
export interface Retired<A> {
  readonly level: string;
  readonly start: number;
  readonly state: PaneState<A>;
}

/**
 * Where open windows of retired intervals go: into the next larger window that is made of such ones, step by step up to a configured one. By the
 * plan that has both, the old and the new intervals: what lies between two of the old ones passes through the new ones as well.
 */
export function retire<A>(
  owner: Owner<A>,
  retired: readonly Retired<A>[],
  merge: (level: Level, start: number, state: PaneState<A>) => void,
): void {
  const { plan } = owner;
  const known = plan.levels.map(({ windows }) => windows);
  const names = [...new Set(retired.map(({ level }) => level))];
  const gone = names.map(parse).filter((windows) => windows !== undefined);
  const renamed = new Map<string, Level>();
  const others: Windows[] = [];
  for (const windows of gone) {
    const twin = plan.levels.find(
      (level) => level.windows instanceof Tumbling && level.windows.size === windows.longest,
    );
    if (twin === undefined) others.push(windows);
    else renamed.set(windows.name, twin);
  }
  const both = new Plan([...known, ...others]);
  for (const { level, start, state } of retired) {
    if (state.closed) continue;
    const twin = renamed.get(level);
    for (const target of twin === undefined ? targets(both.level(level), plan) : [twin]) {
      const { windows } = target;
      for (let at = windows.at(start); !Number.isNaN(at); at = windows.before(at, start)) merge(target, at, state);
    }
  }
}

/** The configured levels that a retired one's windows end up in. */
function targets(level: Level | undefined, plan: Plan): Level[] {
  return (level?.parents ?? []).flatMap((parent) => {
    const configured = plan.level(parent.windows.name);
    return configured === undefined ? targets(parent, plan) : [configured];
  });
}

/** Undefined for a calendar's: nothing is made of those. */
function parse(name: string): Windows | undefined {
  if (!/^\d+[smhd]$/.test(name)) return undefined;
  return parseWindows(name);
}
