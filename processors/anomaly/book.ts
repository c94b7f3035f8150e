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
 * The rules, each with the versions that still matter. A candle is judged, and judged again after a revision, by the version that was in force when
 * its first revision came: a change of a rule changes nothing that was judged before it.
 */
export class RuleBook {
  readonly #store: Store<{ readonly versions: readonly RuleVersion[] }>;
  readonly #builtIn: ReadonlyMap<string, Rule>;
  /** By id, oldest version first; ids in order, so that anomalies come in one order. */
  #compiled = new Map<string, readonly Compiled[]>();

  constructor(store: Store<{ readonly versions: readonly RuleVersion[] }>, builtIn: readonly Rule[]) {
    this.#store = store;
    this.#builtIn = new Map(builtIn.map((rule) => [rule.id, rule]));
    this.#compile();
  }

  restored(): void {
    this.#compile();
  }

  /** Ids of all rules of which a version still matters. */
  ids(): IterableIterator<string> {
    return this.#compiled.keys();
  }

  /** The version of a rule that judges a candle whose first revision is at this offset. */
  at(id: string, closedAt: bigint): Active<CandleRule> | undefined {
    const active = this.#compiled.get(id)?.findLast(({ since }) => since <= closedAt)?.active;
    return active !== undefined && isOnCandles(active.rule) ? (active as Active<CandleRule>) : undefined;
  }

  /** The rules on trades that are in force. */
  onTrades(): Active<TradeRule>[] {
    return [...this.#compiled.values()].flatMap((versions) => {
      const active = versions.at(-1)?.active;
      return active === undefined || isOnCandles(active.rule) ? [] : [active as Active<TradeRule>];
    });
  }

  /** The rule that is in force now. */
  now(id: string): Active | undefined {
    return this.#compiled.get(id)?.at(-1)?.active;
  }

  /** How many candles before the judged one the rules look at, at most. */
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
   * Puts a rule in force, or takes it away (null): then the one that is built in, if there is one, is back.
   *
   * @param since offset of the first candle that it judges.
   * @param oldest of all candles that are kept: versions that judge none of them are forgotten.
   * @throws MillraceError RULE_INVALID, and nothing has changed.
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

  /** A version that was taken and that this release cannot read is out of force; applying it again says why. */
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
