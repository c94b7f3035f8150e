/**
 * Recognises changes that are delivered again.
 *
 * A change is (sequence, operation, primary key). Its sequence is Debezium's `source.sequence`: the LSN of the last commit before it, then its own
 * LSN. LSNs alone will not do: LSN order is not commit order, and many rows of one statement share one LSN. Within a partition
 * sequences never go back, so a lower one is a duplicate, and an equal one is looked up among the identities seen at it.
 */
export class ChangeIdentity {
  #commit: bigint;
  #lsn: bigint;
  readonly #seen: Set<string>;

  constructor(snapshot?: IdentitySnapshot) {
    this.#commit = BigInt(snapshot?.commit ?? -1);
    this.#lsn = BigInt(snapshot?.lsn ?? -1);
    this.#seen = new Set(snapshot?.seen);
  }

  /** Whether the change is new; if so it is remembered. */
  admit({ sequence, operation, primaryKey }: Identity): boolean {
    if (sequence.commit < this.#commit || (sequence.commit === this.#commit && sequence.lsn < this.#lsn)) return false;
    const identity = `${operation}${primaryKey}`;
    if (sequence.commit === this.#commit && sequence.lsn === this.#lsn) {
      if (this.#seen.has(identity)) return false;
    } else {
      this.#commit = sequence.commit;
      this.#lsn = sequence.lsn;
      this.#seen.clear();
    }
    this.#seen.add(identity);
    return true;
  }

  snapshot(): IdentitySnapshot {
    return { commit: this.#commit.toString(), lsn: this.#lsn.toString(), seen: [...this.#seen] };
  }
}

export interface IdentitySnapshot {
  readonly commit: string;
  readonly lsn: string;
  readonly seen: readonly string[];
}

/** Names a change. */
export interface Identity {
  readonly sequence: Sequence;
  readonly operation: string;
  readonly primaryKey: string;
}

export interface Sequence {
  readonly commit: bigint;
  readonly lsn: bigint;
}

/** Parses `["24023119","24023128"]`; the first is null before the first commit that the connector saw. */
export function parseSequence(text: string): Sequence | undefined {
  const match = /^\["?(\d+|null)"?,"?(\d+)"?\]$/.exec(text);
  if (match === null) return undefined;
  return { commit: match[1] === 'null' ? 0n : BigInt(match[1] as string), lsn: BigInt(match[2] as string) };
}
