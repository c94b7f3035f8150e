/** What the archive keeps of a record beside its row, so that the record can be made again: for replays, when the log has it no more. */
import { parseSequence } from '../../capture/identity.ts';
import type { LogRecord } from '../../log/log.ts';
import { type Redriven, redrivenOf } from '../../log/redriven.ts';

/** What no column says, of the few records that have any of it. */
export interface Rest {
  /** The record was a dead letter before. */
  readonly redriven?: Redriven | undefined;
  /** A sequence that is not made of the two LSNs. */
  readonly sequence?: string | undefined;
  /** Which row the data columns are, if not `expectedRow`. */
  readonly row?: 'before' | 'after' | undefined;
}

/** JSON, or null when there is nothing to say. */
export function formatRest(rest: Rest): string | null {
  const { redriven, sequence, row } = rest;
  return redriven === undefined && sequence === undefined && row === undefined ? null : JSON.stringify(rest);
}

export function parseRest(text: string | null): Rest {
  return text === null ? {} : (JSON.parse(text) as Rest);
}

/** Which row of a change is in the data columns: that after it, of a delete that before it. */
export function expectedRow(op: string | null): 'before' | 'after' {
  return op === 'd' ? 'before' : 'after';
}

/**
 * The first half of a change's `source.sequence`, the LSN of the last commit before it, where the second half is the change's own LSN: 0
 * before the first commit, null without a sequence, undefined for a sequence that is something else.
 */
export function commitLsnOf(sequence: string | null, lsn: bigint | null): bigint | null | undefined {
  if (sequence === null) return null;
  const short = lsn === null ? undefined : shortCommit(sequence, Number(lsn));
  if (short !== undefined) return BigInt(short);
  const parsed = parseSequence(sequence);
  if (parsed === undefined || lsn === null) return undefined;
  const commit = BigInt(parsed.commit);
  return sequence === sequenceOf(commit, lsn) ? commit : undefined;
}

const quote = 34;
const comma = 44;

/** As `commitLsnOf`, of a sequence as nearly all are, which is read without making texts of it: `["123","456"]`. Undefined for others. */
function shortCommit(sequence: string, lsn: number): number | undefined {
  const end = sequence.length - 2;
  if (!sequence.startsWith('["') || !sequence.endsWith('"]')) return undefined;
  let at = 2;
  while (at < end && sequence.charCodeAt(at) !== quote) at++;
  if (sequence.charCodeAt(at + 1) !== comma || sequence.charCodeAt(at + 2) !== quote) return undefined;
  return exactNumber(sequence, at + 3, end) === lsn ? exactNumber(sequence, 2, at) : undefined;
}

/** A positive decimal number without leading zeros that is exact in a `number`. */
function exactNumber(text: string, from: number, end: number): number | undefined {
  const first = text.charCodeAt(from);
  if (end <= from || end - from > 15 || first < 49 || first > 57) return undefined;
  let number = 0;
  for (let at = from; at < end; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) return undefined;
    number = number * 10 + digit;
  }
  return number;
}

/** `source.sequence` as Debezium writes it. */
export function sequenceOf(commitLsn: bigint, lsn: bigint): string {
  return commitLsn === 0n ? `[null,"${lsn}"]` : `["${commitLsn}","${lsn}"]`;
}

const redrivenName = 'millrace-record-redriven';

/** For the letter of a record that the sink refuses: that it was redriven, for whomever. The letter's own headers are about the letter. */
export function letterHeaders(record: Pick<LogRecord, 'headers'>): NonNullable<LogRecord['headers']> {
  const redriven = redrivenOf(record.headers);
  return redriven === undefined ? {} : { [redrivenName]: Buffer.from(JSON.stringify(redriven)) };
}

/** What `letterHeaders` kept. */
export function redrivenOfLetter(headers: LogRecord['headers']): Redriven | undefined {
  const text = headers?.[redrivenName]?.toString('utf8');
  return text === undefined ? undefined : (JSON.parse(text) as Redriven);
}
