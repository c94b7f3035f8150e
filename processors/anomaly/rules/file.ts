import { parseDocument } from 'yaml';
import { MillraceError } from '../../../core/base/errors.ts';
import type { Rule as RuleRecord } from '../../../schemas/gen/rule.ts';
import { toRecord } from './parse.ts';

/** Limit of rules in one file; more are treated as a mistake. */
const MOST = 1_000;

/**
 * Parses a rules file: YAML or JSON, a list of rules or one under `rules`. Scalars are read as text, so that no number is rounded.
 *
 * @throws MillraceError RULE_INVALID: names the faults of all rules, not only of the first.
 */
export function parseRules(source: string): readonly RuleRecord[] {
  const document = parseDocument(source, { schema: 'failsafe', uniqueKeys: true });
  if (document.errors.length > 0) {
    throw invalid(document.errors.map(({ message }) => `not YAML: ${message.split('\n')[0]}`).join('\n'));
  }
  const content = document.toJS({ maxAliasCount: 100 }) as unknown;
  const list = Array.isArray(content) ? content : (content as { rules?: unknown } | null)?.rules;
  if (!Array.isArray(list) || list.length === 0)
    throw invalid('a file of rules is a list of rules, or has one under `rules`');
  if (list.length > MOST) throw invalid(`${list.length} rules in one file; ${MOST} is the most`);
  const wrong: string[] = [];
  const rules: RuleRecord[] = [];
  for (const each of list) {
    try {
      rules.push(toRecord(each));
    } catch (cause) {
      if (!(cause instanceof MillraceError)) throw cause;
      wrong.push(cause.message);
    }
  }
  const ids = list.map((each) => (each as { id?: unknown } | null)?.id);
  const twice = new Set(ids.filter((id, at) => typeof id === 'string' && ids.indexOf(id) !== at));
  for (const id of twice) wrong.push(`rule ${id} is there twice`);
  if (wrong.length > 0) throw invalid(wrong.join('\n'));
  return rules;
}

function invalid(message: string): MillraceError {
  return new MillraceError('RULE_INVALID', message, {
    remedy:
      'Correct the file; docs/reference/processing/anomaly-rules.md lists each kind of rule with its fields and units.',
  });
}
