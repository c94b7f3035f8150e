/**
 * State of a capture that survives restarts and that other processes can read: rows of `capture_record` in the captured database, one for
 * each kind. A restored Postgres has the state at its backup.
 */
import type { Client } from 'pg';
import { z } from 'zod';
import { MillraceError } from '../../core/base/errors.ts';

const time = z.string();

const shapes = {
  /** Identities at the start of capture, by table name; the publication's identity is under its own name. */
  seen: z.record(z.string(), z.object({ oid: z.number(), entry: z.number().nullable() })),
  /** Tables with uncaptured changes, until a recapture. */
  missed: z.record(z.string(), z.object({ since: time, cause: z.string() })),
  /** Tables left out of the capture by an operator. */
  parked: z.record(z.string(), z.object({ since: time, cause: z.string().nullable() })),
  /** The loss known to the slot guard, and whether the guard stopped the connector. */
  guard: z.object({
    since: time,
    stopped: z.boolean(),
    loss: z.object({
      kind: z.enum(['missing', 'invalidated', 'recreated', 'restored']),
      reason: z.string(),
      captured: z.string().transform((text) => BigInt(text)),
    }),
  }),
  /** Restarts by the supervisor, oldest first. */
  restarts: z.array(z.object({ at: time, part: z.string(), cause: z.string() })),
} as const;

export type RecordKind = keyof typeof shapes;
type Shape<K extends RecordKind> = z.output<(typeof shapes)[K]>;

export type TableIdentities = Shape<'seen'>;
export type Missed = Shape<'missed'>;
export type Parked = Shape<'parked'>;
export type GuardState = Shape<'guard'>;
export type Restart = Shape<'restarts'>[number];

/** A kind that was never written is undefined. */
export type CaptureRecord = { readonly [K in RecordKind]?: Shape<K> };

type Database = Pick<Client, 'query'>;

/** Empty when the database does not have the record's table yet. */
export async function readRecord(db: Database, connector: string): Promise<CaptureRecord> {
  if (!(await hasTable(db))) return {};
  const { rows } = await db.query<{ kind: string; value: unknown }>(
    'SELECT kind, value FROM public.capture_record WHERE connector = $1',
    [connector],
  );
  const known = rows.filter(({ kind }) => kind in shapes);
  return Object.fromEntries(known.map(({ kind, value }) => [kind, shapes[kind as RecordKind].parse(value)]));
}

/** Replaces the value; undefined removes it. @throws MillraceError CONFIG_INVALID: the database does not have the record's table. */
export async function writeRecord<K extends RecordKind>(
  db: Database,
  connector: string,
  kind: K,
  value: Shape<K> | undefined,
): Promise<void> {
  await requireTable(db);
  if (value === undefined) {
    await db.query('DELETE FROM public.capture_record WHERE connector = $1 AND kind = $2', [connector, kind]);
    return;
  }
  await db.query(
    `INSERT INTO public.capture_record (connector, kind, value) VALUES ($1, $2, $3)
       ON CONFLICT (connector, kind) DO UPDATE SET value = EXCLUDED.value`,
    [connector, kind, text(value)],
  );
}

/**
 * Adds entries by name; existing entries stay as they are. @throws MillraceError CONFIG_INVALID: the database does not have the record's
 * table.
 */
export async function addToRecord<K extends 'seen' | 'missed' | 'parked'>(
  db: Database,
  connector: string,
  kind: K,
  entries: Shape<K>,
): Promise<void> {
  if (Object.keys(entries).length === 0) return;
  await requireTable(db);
  await db.query(
    `INSERT INTO public.capture_record AS record (connector, kind, value) VALUES ($1, $2, $3)
       ON CONFLICT (connector, kind) DO UPDATE SET value = EXCLUDED.value || record.value`,
    [connector, kind, text(entries)],
  );
}

function text(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? `${part}` : part));
}

async function hasTable(db: Database): Promise<boolean> {
  const { rows } = await db.query<{ found: boolean }>(
    `SELECT to_regclass('public.capture_record') IS NOT NULL AS found`,
  );
  return rows[0]?.found === true;
}

async function requireTable(db: Database): Promise<void> {
  if (await hasTable(db)) return;
  throw new MillraceError('CONFIG_INVALID', 'the database has no table public.capture_record', {
    remedy: 'Run `millrace db migrate`.',
  });
}
