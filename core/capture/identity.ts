/**
 * Recognises changes that are delivered again.
 *
 * A change is (sequence, operation, primary key). Its sequence is Debezium's `source.sequence`: the LSN of the last commit before it, then its own
 * LSN. LSNs alone are not enough: LSN order is not commit order, and many rows of one statement share one LSN. Within a partition
 * sequences never decrease, so a lower one is a duplicate. A change with an equal one is compared with the identities seen at it.
 */
export class ChangeIdentity {
  readonly #columns: readonly string[];
  #sequence: Sequence;
  /** The one change at the sequence, as it came: most sequences have one, and it is hardly ever asked for by name. */
  #only: IdentifiedChange | undefined;
  /** All changes at the sequence but `#only`, by name. */
  readonly #seen: Set<string>;

  /** @param columns the primary key. */
  constructor(columns: readonly string[], snapshot?: IdentitySnapshot) {
    this.#columns = columns;
    this.#sequence = { commit: snapshot?.commit ?? '', lsn: snapshot?.lsn ?? '' };
    this.#seen = new Set(snapshot?.seen);
  }

  /** Whether the change is new; if so it is remembered. */
  admit(change: IdentifiedChange): boolean {
    const order = compareSequences(change.sequence, this.#sequence);
    if (order < 0) return false;
    if (order > 0) {
      this.#sequence = change.sequence;
      this.#only = change;
      if (this.#seen.size > 0) this.#seen.clear();
      return true;
    }
    const name = this.#name(change);
    if (this.#seen.has(name) || (this.#only !== undefined && this.#name(this.#only) === name)) return false;
    this.#seen.add(name);
    return true;
  }

  snapshot(): IdentitySnapshot {
    const only = this.#only === undefined ? [] : [this.#name(this.#only)];
    return { ...this.#sequence, seen: [...only, ...this.#seen] };
  }

  #name({ operation, row }: IdentifiedChange): string {
    return operation + this.#columns.map((column) => String(row?.[column])).join('\u001f');
  }
}

export interface IdentitySnapshot extends Sequence {
  readonly seen: readonly string[];
}

/** The parts of a change's identity: sequence, operation and row. */
export interface IdentifiedChange {
  readonly sequence: Sequence;
  readonly operation: string;
  /** The row after the change, or before it if it is gone. */
  readonly row: Readonly<Record<string, unknown>> | null | undefined;
}

/** Two LSNs as decimal text. They have no leading zeros, so the longer text is the greater number. */
export interface Sequence {
  readonly commit: string;
  readonly lsn: string;
}

/** Negative when `a` came before `b`. */
export function compareSequences(a: Sequence, b: Sequence): number {
  return compareDecimal(a.commit, b.commit) || compareDecimal(a.lsn, b.lsn);
}

function compareDecimal(a: string, b: string): number {
  if (a === b) return 0;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : 1;
}

const quote = 34;
const zero = 48;

/** Reads `["24023119","24023128"]`; the first is null before the first commit that the connector saw. By hand: it is read with every record. */
export function parseSequence(text: string): Sequence | undefined {
  if (text.charCodeAt(0) !== 91 || text.charCodeAt(text.length - 1) !== 93) return undefined;
  const comma = text.indexOf(',');
  const commit = text.startsWith('null,', 1) ? '0' : lsnOf(text, 1, comma);
  const lsn = lsnOf(text, comma + 1, text.length - 1);
  return commit === undefined || lsn === undefined ? undefined : { commit, lsn };
}

/** A quoted or plain number from `from` to `to`, without leading zeros. */
function lsnOf(text: string, from: number, to: number): string | undefined {
  const quoted = text.charCodeAt(from) === quote;
  let start = quoted ? from + 1 : from;
  const end = quoted ? to - 1 : to;
  if (start >= end || (quoted && text.charCodeAt(end) !== quote)) return undefined;
  for (let at = start; at < end; at++) {
    const digit = text.charCodeAt(at) - zero;
    if (digit < 0 || digit > 9) return undefined;
  }
  while (start < end - 1 && text.charCodeAt(start) === zero) start++;
  return text.slice(start, end);
}
