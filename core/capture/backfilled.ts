/**
 * Whether the row was read again, by Debezium's incremental snapshot (`millrace backfill`) or for the archive (`millrace repair --from-postgres`,
 * which also writes that a row is gone): it says how the row is, at its place in the log, and is no change of it. Tables and the archive take it
 * like any other; nothing is folded again, and no time passes by it.
 */
export function isBackfilled({ source }: { readonly source?: { readonly snapshot?: string | null } }): boolean {
  return source?.snapshot === 'incremental';
}
