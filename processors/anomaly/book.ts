import { isError, MillraceError } from '../../core/base/errors.ts';
import type { Store } from '../../core/processor/define.ts';
import type { Rule as RuleRecord } from '../../schemas/gen/rule.ts';
import { compileRule } from './rules/parse.ts';
import { type Active, type CandleRule, isOnCandles, lookbackOf, type Rule, type TradeRule } from './rules/rule.ts';
import type { RuleVersion } from './state.ts';

interface Compiled {
  readonly since: bigint;
  readonly active: Active | undefined;
}

/**
 * The rules, each with the versions that are still needed. A candle and its revisions are judged by the version in force at its first
 * revision. So a changed rule does not change earlier verdicts.
 */
export class RuleBook {
  readonly #store: Store<{ readonly versions: readonly RuleVersion[] }>;
  readonly #builtIn: ReadonlyMap<string, Rule>;
  /** By id, oldest version first. Ids are sorted, so that anomalies have a fixed order. */
  #compiled = new Map<string, readonly Compiled[]>();

  constructor(store: Store<{ readonly versions: readonly RuleVersion[] }>, builtIn: readonly Rule[]) {
    this.#store = store;
    this.#builtIn = new Map(builtIn.map((rule) => [rule.id, rule]));
    this.#compile();
  }

  restored(): void {
    this.#compile();
  }

  /** Ids of all rules with a version that is still needed. */
  ids(): IterableIterator<string> {
    return this.#compiled.keys();
  }

  /** Version that judges a candle with its first revision at this offset; undefined for none. */
  at(id: string, closedAt: bigint): Active<CandleRule> | undefined {
    const active = this.#compiled.get(id)?.findLast(({ since }) => since <= closedAt)?.active;
    return active !== undefined && isOnCandles(active.rule) ? (active as Active<CandleRule>) : undefined;
  }

  /** Trade rules in force. */
  onTrades(): Active<TradeRule>[] {
    return [...this.#compiled.values()].flatMap((versions) => {
      const active = versions.at(-1)?.active;
      return active === undefined || isOnCandles(active.rule) ? [] : [active as Active<TradeRule>];
    });
  }

  /** Rule version in force; undefined for none. */
  now(id: string): Active | undefined {
    return this.#compiled.get(id)?.at(-1)?.active;
  }

  /** Greatest number of candles before the judged one that any rule reads. */
  lookback(): number {
    let most = 0;
    for (const versions of this.#compiled.values()) {
      for (const { active } of versions) if (active !== undefined) most = Math.max(most, lookbackOf(active.rule));
    }
    return most;
  }

  get size(): number {
    let size = 0;
    for (const versions of this.#compiled.values()) if (versions.at(-1)?.active !== undefined) size++;
    return size;
  }

  /**
   * Puts a rule in force, or removes it (null). After a removal the built-in rule of that id, if any, applies again.
   *
   * @param since offset of the first candle that the version judges.
   * @param oldest least offset of a kept candle: versions that judge no kept candle are deleted.
   * @throws MillraceError RULE_INVALID: nothing has changed.
   */
  apply(
    id: string,
    rule: RuleRecord | null,
    at: { readonly offset: bigint; readonly since: bigint; readonly oldest: bigint },
  ): void {
    if (rule !== null && compileRule(rule).id !== id) {
      throw new MillraceError('RULE_INVALID', `rule ${rule.id} has the key ${id}`);
    }
    const versions = [...(this.#store.get(id)?.versions ?? []), { offset: at.offset, since: at.since, rule }];
    this.#store.set(id, { versions });
    for (const [each, { versions: all }] of [...this.#store.entries()]) {
      const kept = all.slice(
        Math.max(
          0,
          all.findLastIndex(({ since }) => since <= at.oldest),
        ),
      );
      if (kept.length === 1 && kept[0]?.rule === null && kept[0].since <= at.oldest) this.#store.delete(each);
      else if (kept.length < all.length) this.#store.set(each, { versions: kept });
    }
    this.#compile();
  }

  #compile(): void {
    const compiled = new Map<string, readonly Compiled[]>();
    for (const [id, rule] of this.#builtIn) compiled.set(id, [{ since: 0n, active: { rule, version: -1n } }]);
    for (const [id, { versions }] of this.#store.entries()) {
      const before = compiled.get(id) ?? [];
      compiled.set(id, [...before, ...versions.map((version) => this.#one(id, version))]);
    }
    this.#compiled = new Map([...compiled].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** An accepted version that this release cannot read is not in force. `millrace rules apply` of the same rule reports the reason. */
  #one(id: string, { since, offset, rule }: RuleVersion): Compiled {
    if (rule === null) {
      const builtIn = this.#builtIn.get(id);
      return { since, active: builtIn === undefined ? undefined : { rule: builtIn, version: -1n } };
    }
    try {
      const parsed = compileRule(rule);
      return { since, active: parsed.enabled ? { rule: parsed, version: offset } : undefined };
    } catch (error) {
      if (isError(error, 'RULE_INVALID')) return { since, active: undefined };
      throw error;
    }
  }
}
