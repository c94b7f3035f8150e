/** Compares the row in Postgres with its folded changes. Pure. */

import { differencesOf, numberIn, tradeColumns } from '../texts.ts';
import type { TracedChange } from './changes.ts';
import type { PostgresRow } from './postgres.ts';

export interface Agreement {
  /** The contradiction, or the missing part; undefined if they agree. */
  readonly problem: string | undefined;
  /** Offset of the change whose transaction wrote the present row; null if unknown. */
  readonly writtenBy: bigint | null;
}

/**
 * @param changes all known changes, in offset order
 * @param repeats offsets of second deliveries: a repeated old change does not restore the old row
 */
export function agreement(
  { texts, xmin }: Pick<PostgresRow, 'texts' | 'xmin'>,
  changes: readonly TracedChange[],
  repeats: ReadonlyMap<bigint, bigint>,
): Agreement {
  const first = changes.filter(({ offset }) => !repeats.has(offset));
  const newest = first.at(-1);
  const isGone = newest === undefined || newest.texts['_op'] === 'd';
  if (texts === null) {
    const problem = isGone
      ? undefined
      : `the row is gone from Postgres, and the log has no delete after offset ${newest.offset}`;
    return { problem, writtenBy: null };
  }
  // The transaction id is the evidence: Postgres keeps 32 bits of it. One transaction may have changed the row several times.
  const writer = first.findLast((each) => each.texts['_op'] !== 'd' && isWrittenBy(each, xmin));
  const against = writer ?? newest;
  const writtenBy = writer?.offset ?? null;
  if (against === undefined || against.texts['_op'] === 'd') {
    const after = against === undefined ? '' : ` after the delete at offset ${against.offset}`;
    return {
      problem: `the row is in Postgres, written by transaction ${xmin}, and the log has no change of it${after}`,
      writtenBy,
    };
  }
  const different = differencesOf(tradeColumns, texts, against.texts, `at offset ${against.offset} of the log`);
  if (different.length === 0) return { problem: undefined, writtenBy };
  const by = writer === undefined ? `; transaction ${xmin}, which wrote it, is not in the log` : '';
  return { problem: `in Postgres ${different.join(', ')}${by}`, writtenBy };
}

function isWrittenBy({ texts }: TracedChange, xmin: bigint | null): boolean {
  const transaction = numberIn(texts, '_tx_id');
  return transaction !== undefined && xmin !== null && BigInt.asUintN(32, transaction) === xmin;
}
