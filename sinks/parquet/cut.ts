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
}

const format = 1;

export function formatCut(cut: Cut): string {
  return JSON.stringify({
    v: format,
    end: cut.end.toString(),
    schemaId: cut.schemaId,
    writerVersion: cut.writerVersion,
  });
}

/** The planned cut, or undefined for an offset without one. @throws MillraceError CUT_UNREADABLE */
export function parseCut(metadata: string, writerVersions: readonly number[]): Cut | undefined {
  if (metadata === '') return undefined;
  let parsed: { v?: unknown; end?: unknown; schemaId?: unknown; writerVersion?: unknown };
  try {
    parsed = JSON.parse(metadata);
  } catch (cause) {
    throw unreadable(metadata, cause);
  }
  const { v, end, schemaId, writerVersion } = parsed ?? {};
  if (
    v !== format ||
    typeof end !== 'string' ||
    !/^\d{1,19}$/.test(end) ||
    typeof schemaId !== 'number' ||
    typeof writerVersion !== 'number' ||
    !writerVersions.includes(writerVersion)
  ) {
    throw unreadable(metadata);
  }
  return { end: BigInt(end), schemaId, writerVersion };
}

function unreadable(metadata: string, cause?: unknown): MillraceError {
  return new MillraceError('CUT_UNREADABLE', `this version cannot finish the planned cut ${metadata.slice(0, 200)}`, {
    cause,
    remedy: 'run the version of Millrace that planned it, or a newer one; nothing is lost meanwhile',
  });
}
