export type Tree = { [key: string]: unknown };

/** Merges trees; a later value wins. Lists are replaced as a whole. */
export function mergeTrees(trees: readonly Tree[]): Tree {
  return trees.reduce(merge, {});
}

function merge(base: Tree, over: Tree): Tree {
  const merged: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const existing = merged[key];
    merged[key] = isTree(existing) && isTree(value) ? merge(existing, value) : value;
  }
  return merged;
}

/** Whether a value has named members: not a list, text or number. */
export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
