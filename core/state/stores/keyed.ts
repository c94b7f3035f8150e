/** One entry of the changelog: a null value is a tombstone. */
export interface Change {
  readonly key: Buffer;
  readonly value: Buffer | null;
}

/** An entry as it is shown to people. */
export interface StoredEntry {
  readonly key: string;
  readonly value: unknown;
  /** Set since the last commit was begun: it may yet be taken back. */
  readonly pending: boolean;
}

const separator = '\u0000';

/** What the runtime needs of a store beside what a fold needs. */
export interface KeyedState {
  readonly size: number;
  /** Log time, microseconds: entries that have outlived their time to live are gone. */
  advance(logTime: bigint): void;
  /** Takes the changes since the last call, encoded now: the fold may go on while they are being written. */
  takeChanges(): Change[];
  /** For people, never for a fold: it may read the disk. */
  lookup(key: string): StoredEntry | undefined;
}

/** The changelog's key of an entry. */
export function changeKey(store: string, key: string): Buffer {
  return Buffer.from(`${store}${separator}${key}`, 'utf8');
}

/** Undefined for a key that belongs to no store. */
export function parseKey(text: string): { readonly store: string; readonly key: string } | undefined {
  const at = text.indexOf(separator);
  return at < 0 ? undefined : { store: text.slice(0, at), key: text.slice(at + 1) };
}
