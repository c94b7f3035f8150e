/**
 * The table by which the running connector is told to backfill, and to stop. Debezium reads the change that a row's insert is, at its place among
 * all others. The row stays until the backfill has ended: so whoever asks later knows of it.
 */
import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { z } from 'zod';
import { tryLock } from '../../core/base/postgres.ts';
import type { Plan } from './plan.ts';

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

/** A backfill that has not ended, as far as is known. */
export interface Backfill {
  readonly id: string;
  /** With its schema. */
  readonly table: string;
  readonly where: string | null;
  /** That matched when it began. */
  readonly rows: number;
  /** When it began, ISO 8601. */
  readonly begun: string;
  /** Where the table's topic ended then, by partition. */
  readonly from: readonly bigint[];
  /** Where the topic of notifications ended then. */
  readonly notified: bigint;
}

/** Tells the connector. @param places where the topics end before that */
export async function begin(
  db: Db,
  { table: { name }, where, rows }: Plan,
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
    // Debezium writes it behind an AND.
    ...(where === null ? {} : { 'additional-conditions': [{ 'data-collection': name, filter: `(${where})` }] }),
    millrace: { where, rows, begun, from: from.map(String), notified: String(notified) },
  };
  await signal(db, backfill.id, 'execute-snapshot', data);
  return backfill;
}

/** Tells the connector to read no more of the table. What was read stays. */
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

/** The one that was begun last and has not been forgotten. Signals that somebody else wrote are none of ours. */
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

/** It has ended. The connector passes over the delete. */
export async function forget(db: Db, { id }: Backfill): Promise<void> {
  await db.query('DELETE FROM public.capture_signals WHERE id = $1', [id]);
}

/** Keeps others from beginning one, until the connection ends. @returns false when somebody is about to */
export function lockBackfill(db: Db, slot: string): Promise<boolean> {
  return tryLock(db, `millrace.backfill.${slot}`);
}
