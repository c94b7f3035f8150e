/** State keys by symbol and by trade. */
import type { Store } from '../core/processor/define.ts';

export function symbolKey(venue: string, symbol: string): string {
  return JSON.stringify([venue, symbol]);
}

export function readSymbolKey(key: string): [venue: string, symbol: string] {
  return JSON.parse(key) as [string, string];
}

export function tradeKey(venue: string, symbol: string, id: string): string {
  return JSON.stringify([venue, symbol, id]);
}

/** Entries of one symbol in a store by trade, with trade ids. Scans the whole store. */
export function* tradesOf<V>(store: Store<V>, symbol: string): IterableIterator<[id: string, value: V]> {
  if (store.size === 0) return;
  const prefix = `${symbol.slice(0, -1)},`;
  for (const [key, value] of store.entries()) {
    if (key.startsWith(prefix)) yield [(JSON.parse(key) as [string, string, string])[2], value];
  }
}
