import { readSymbolKey, symbolKey } from '../trade-key.ts';

/** A venue's symbol with its key in the state. */
export interface Symbol {
  readonly venue: string;
  readonly symbol: string;
  readonly key: string;
}

/** Symbols and their state keys, cached so that no text is made or parsed for each trade. */
export class Symbols {
  readonly #venues = new Map<string, Map<string, Symbol>>();
  readonly #keys = new Map<string, Symbol>();
  #latest: Symbol | undefined;

  key(venue: string, symbol: string): string {
    const latest = this.#latest;
    if (latest !== undefined && latest.symbol === symbol && latest.venue === venue) return latest.key;
    const found = this.#venues.get(venue)?.get(symbol) ?? this.#add({ venue, symbol, key: symbolKey(venue, symbol) });
    this.#latest = found;
    return found.key;
  }

  of(key: string): Symbol {
    const found = this.#keys.get(key);
    if (found !== undefined) return found;
    const [venue, symbol] = readSymbolKey(key);
    return this.#add({ venue, symbol, key });
  }

  /** Removes a symbol from memory. The next `key` or `of` adds it again. */
  delete(key: string): void {
    const found = this.#keys.get(key);
    if (found === undefined) return;
    this.#keys.delete(key);
    this.#venues.get(found.venue)?.delete(found.symbol);
    if (this.#latest === found) this.#latest = undefined;
  }

  #add(symbol: Symbol): Symbol {
    let symbols = this.#venues.get(symbol.venue);
    if (symbols === undefined) {
      symbols = new Map();
      this.#venues.set(symbol.venue, symbols);
    }
    symbols.set(symbol.symbol, symbol);
    this.#keys.set(symbol.key, symbol);
    return symbol;
  }
}
