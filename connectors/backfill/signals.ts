/**
 * The signal table tells the running connector to start and stop backfills. Debezium reads the insert of a signal row in its place among
 * all other changes. The row stays until the backfill ends, so that a later command can find it.
 */
import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { z } from 'zod';
import { tryLock } from '../../core/base/postgres.ts';
import type { BackfillPlan } from './plan.ts';

type Db = Pick<Client, 'query'>;

const shape = z.object({
  'data-collections': z.tuple([z.string()]),
  millrace: z.object({
    where: z.string().nullable(),
    rows: z.number().int(),
    begun: z.string(),
    from: z.array(z.coerce.bigint()),
    notified: z.coerce.bigint(),
  }),
});

/** A backfill without a known end. */
export interface Backfill {
  readonly id: string;
  /** Table name with schema. */
  readonly table: string;
  readonly where: string | null;
  /** Number of matching rows at the start. */
  readonly rows: number;
  /** Start, ISO 8601. */
  readonly begun: string;
  /** End offsets of the table's topic at the start, by partition. */
  readonly from: readonly bigint[];
  /** End offset of the notifications topic at the start. */
  readonly notified: bigint;
}

/** Signals the connector to start. @param places end offsets of the topics before the signal */
export async function begin(
  db: Db,
  { table: { name }, where, rows }: BackfillPlan,
  places: Pick<Backfill, 'from' | 'notified'>,
): Promise<Backfill> {
  const backfill = {
    id: `backfill-${randomUUID()}`,
    table: name,
    where,
    rows,
    begun: new Date().toISOString(),
    ...places,
  };
  const { begun, from, notified } = backfill;
  const data = {
    type: 'incremental',
    'data-collections': [name],
    // Debezium appends the filter after an AND.
    ...(where === null ? {} : { 'additional-conditions': [{ 'data-collection': name, filter: `(${where})` }] }),
    millrace: { where, rows, begun, from: from.map(String), notified: String(notified) },
  };
  await signal(db, backfill.id, 'execute-snapshot', data);
  return backfill;
}

/** Signals the connector to stop reading the table. Rows already read stay. */
export async function requestStop(db: Db, { table }: Backfill): Promise<void> {
  const id = `stop-${randomUUID()}`;
  await signal(db, id, 'stop-snapshot', { type: 'incremental', 'data-collections': [table] });
  await db.query('DELETE FROM public.capture_signals WHERE id = $1', [id]);
}

async function signal(db: Db, id: string, type: string, data: object): Promise<void> {
  await db.query('INSERT INTO public.capture_signals (id, type, data) VALUES ($1, $2, $3)', [
    id,
    type,
    JSON.stringify(data),
  ]);
}

/** The newest backfill whose signal has not been deleted. Signals of other writers are ignored. */
export async function begunBackfill(db: Db): Promise<Backfill | undefined> {
  const { rows } = await db.query<{ id: string; data: string | null }>(
    `SELECT id, data FROM public.capture_signals WHERE type = 'execute-snapshot' AND id LIKE 'backfill-%'`,
  );
  const found = rows.flatMap(({ id, data }): Backfill[] => {
    const parsed = shape.safeParse(JSON.parse(data ?? 'null'));
    if (!parsed.success) return [];
    const {
      'data-collections': [table],
      millrace,
    } = parsed.data;
    return [{ id, table, ...millrace }];
  });
  return found.sort((a, b) => (a.begun < b.begun ? 1 : -1))[0];
}

/** Deletes the signal of an ended backfill. The connector ignores the delete. */
export async function forget(db: Db, { id }: Backfill): Promise<void> {
  await db.query('DELETE FROM public.capture_signals WHERE id = $1', [id]);
}

/** Takes the backfill lock until the connection ends. @returns false when another session holds it */
export function lockBackfill(db: Db, slot: string): Promise<boolean> {
  return tryLock(db, `millrace.backfill.${slot}`);
}
