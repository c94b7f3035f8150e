import { MillraceError } from '../../core/errors.ts';

/**
 * A planned object boundary: what is between the committed offset and `end` becomes objects, exactly so, whoever writes them. It is the
 * metadata of the committed offset until the objects are listed.
 */
export interface Cut {
  /** First offset after the cut. */
  readonly end: bigint;
  /** Newest schema id in the range; 0 when none of its records could be read. */
  readonly schemaId: number;
  /** See writer.ts: it decides the bytes. */
  readonly writerVersion: number;
  readonly unlisted?: Unlisted | undefined;
}

/**
 * What is committed and in the range of no object yet, because there was no row in it: transaction markers, dead letters. The next cut's
 * objects have it in their range, so that the list alone tells whether anything is missing.
 */
export interface Unlisted {
  /** First offset. */
  readonly since: bigint;
  readonly deadLetters: number;
}

const format = 1;

export function formatCut(cut: Cut): string {
  return JSON.stringify({
    v: format,
    end: cut.end.toString(),
    schemaId: cut.schemaId,
    writerVersion: cut.writerVersion,
    ...(cut.unlisted === undefined ? {} : textOf(cut.unlisted)),
  });
}

export function formatUnlisted(unlisted: Unlisted): string {
  return JSON.stringify({ v: format, ...textOf(unlisted) });
}

/** What is unlisted before a committed offset, by its metadata. @throws MillraceError CUT_UNREADABLE */
export function parseUnlisted(metadata: string): Unlisted | undefined {
  if (metadata === '') return undefined;
  const { v, since, dead } = parse(metadata);
  if (since === undefined) return undefined;
  if (v !== format || !isOffset(since) || typeof dead !== 'number') throw unreadable(metadata);
  return { since: BigInt(since), deadLetters: dead };
}

/** The planned cut, or undefined for an offset without one. @throws MillraceError CUT_UNREADABLE */
export function parseCut(metadata: string, writerVersions: readonly number[]): Cut | undefined {
  if (metadata === '') return undefined;
  const { v, end, schemaId, writerVersion, since } = parse(metadata);
  if (v === format && end === undefined && since !== undefined) return undefined;
  if (
    v !== format ||
    !isOffset(end) ||
    typeof schemaId !== 'number' ||
    typeof writerVersion !== 'number' ||
    !writerVersions.includes(writerVersion)
  ) {
    throw unreadable(metadata);
  }
  const cut = { end: BigInt(end), schemaId, writerVersion };
  const unlisted = parseUnlisted(metadata);
  return unlisted === undefined ? cut : { ...cut, unlisted };
}

interface Metadata {
  readonly v?: unknown;
  readonly end?: unknown;
  readonly schemaId?: unknown;
  readonly writerVersion?: unknown;
  readonly since?: unknown;
  readonly dead?: unknown;
}

function parse(metadata: string): Metadata {
  try {
    return (JSON.parse(metadata) as Metadata | null) ?? {};
  } catch (cause) {
    throw unreadable(metadata, cause);
  }
}

function isOffset(value: unknown): value is string {
  return typeof value === 'string' && /^\d{1,19}$/.test(value);
}

function textOf({ since, deadLetters }: Unlisted): { since: string; dead: number } {
  return { since: since.toString(), dead: deadLetters };
}

function unreadable(metadata: string, cause?: unknown): MillraceError {
  return new MillraceError('CUT_UNREADABLE', `this version cannot finish the planned cut ${metadata.slice(0, 200)}`, {
    cause,
    remedy: 'run the version of Millrace that planned it, or a newer one; nothing is lost meanwhile',
  });
}
