/**
 * Whether Debezium's incremental snapshot (`millrace backfill`) has read the row: the change says how the row is, at its place in the log, and is
 * no change of it. Tables and the archive take it like any other; nothing is folded again, and no time passes by it.
 */
export function isBackfilled({
  op,
  source,
}: {
  readonly op?: string | null;
  readonly source?: { readonly snapshot?: string | null };
}): boolean {
  return op === 'r' && source?.snapshot === 'incremental';
}
