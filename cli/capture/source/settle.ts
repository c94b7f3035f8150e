import type { Definition } from '../../../connectors/definition/definition.ts';
import { seenIn } from '../../../connectors/source/findings.ts';
import { type CaptureRecord, writeRecord } from '../../../connectors/source/record.ts';
import { type Source, wantedOf } from '../../../connectors/source/source.ts';
import type { Config } from '../../../core/base/config.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';

/**
 * Clears the record after a recapture: only parked tables still miss changes, and no slot is lost.
 *
 * @param before the record as read before the recapture; a table that was replaced meanwhile is found by the next check
 */
export async function settleRecord(
  config: Config,
  {
    definition,
    source,
    record,
  }: { readonly definition: Definition; readonly source: Source; readonly record: CaptureRecord },
): Promise<void> {
  const { name } = definition;
  const parked = record.parked ?? {};
  const missed = Object.entries(record.missed ?? {}).filter(([table]) => parked[table] !== undefined);
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors' });
  await writeRecord(db, name, 'seen', seenIn(wantedOf(definition.config), source));
  await writeRecord(db, name, 'missed', missed.length === 0 ? undefined : Object.fromEntries(missed));
  await writeRecord(db, name, 'guard', undefined);
  // The cause of the restarts lies before the new slot.
  await writeRecord(db, name, 'restarts', undefined);
}

/** Deletes the record after a reset of the connector, because it is no longer valid. Parked tables stay parked. */
export async function forgetRecord(config: Config, connector: string): Promise<void> {
  await using db = await connectPostgres({ url: config.postgres.url, name: 'millrace connectors' });
  for (const kind of ['seen', 'missed', 'guard', 'restarts'] as const)
    await writeRecord(db, connector, kind, undefined);
}
