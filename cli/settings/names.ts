/** Names of settings in files and flags: former names are taken with a warning, unknown names are refused. */
import { configSchema } from '../../core/base/config.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { renamed, underNewNames } from '../../core/base/renames.ts';
import { similar } from './similar.ts';
import { isTree, type Tree } from './tree.ts';

const sections = configSchema.parse({}) as Readonly<Record<string, Tree>>;

/**
 * The settings under their present names. Values are not validated here.
 *
 * @throws MillraceError CONFIG_INVALID: a setting is unknown, or has both its names.
 */
export function underKnownNames(tree: Tree, warn: (message: string) => void): Tree {
  const unknown: string[] = [];
  const known = Object.entries(tree).map(([section, values]) => {
    const own = sections[section];
    if (own === undefined) unknown.push(told(section, Object.keys(sections)));
    if (own === undefined || !isTree(values)) return [section, values] as const;
    const former = renamed(section);
    const names = [...Object.keys(own), ...former.keys()];
    for (const name of Object.keys(values)) {
      if (!names.includes(name)) unknown.push(`${section}.${told(name, names, `${section}.`, former)}`);
    }
    return [section, underNewNames<Tree>(section, values, { warn })] as const;
  });
  if (unknown.length === 0) return Object.fromEntries(known);
  throw new MillraceError('CONFIG_INVALID', `no setting is called ${unknown.sort().join(', ')}`, {
    remedy: 'Correct or remove the setting; `millrace config` lists every setting.',
  });
}

/** An unknown name, with the similar present name. @param former present names by their former ones */
export function told(
  unknown: string,
  known: readonly string[],
  prefix = '',
  former: ReadonlyMap<string, string> = new Map(),
): string {
  const like = similar(unknown, known);
  return like === undefined ? unknown : `${unknown} (did you mean ${prefix}${former.get(like) ?? like}?)`;
}
