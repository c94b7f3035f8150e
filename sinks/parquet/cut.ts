import { isOffset, parseUnlisted, type Unlisted, unlistedFields, unreadable } from '../../core/archive/unlisted.ts';

/**
 * A planned object boundary. The records between the committed offset and `end` become exactly these objects, by any owner. It is the
 * metadata of the committed offset until the objects are listed.
 */
export interface Cut {
  /** First offset after the cut. */
  readonly end: bigint;
  /** Newest schema id in the range; 0 if none of its records can be read. */
  readonly schemaId: number;
  /** The version of the writer, which decides the bytes; see writer.ts. */
  readonly writerVersion: number;
  /** Earlier committed records without an object, which belong to the range of the new objects. */
  readonly unlisted?: Unlisted | undefined;
}

const format = 1;

export function formatCut(cut: Cut): string {
  return JSON.stringify({
    v: format,
    end: cut.end.toString(),
    schemaId: cut.schemaId,
    writerVersion: cut.writerVersion,
    ...(cut.unlisted === undefined ? {} : unlistedFields(cut.unlisted)),
  });
}

/** Reads the planned cut; undefined for an offset without one. @throws MillraceError CUT_UNREADABLE */
export function parseCut(metadata: string, writerVersions: readonly number[]): Cut | undefined {
  if (metadata === '') return undefined;
  const unlisted = parseUnlisted(metadata);
  const { v, end, schemaId, writerVersion } = (JSON.parse(metadata) ?? {}) as Record<string, unknown>;
  if (v === format && end === undefined && unlisted !== undefined) return undefined;
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
  return unlisted === undefined ? cut : { ...cut, unlisted };
}
