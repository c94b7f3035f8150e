/** State of the source in Postgres: the publication, and for each table its identity, columns and rights. */
import type { Client } from 'pg';
import type { ConnectorConfig } from '../definition/definition.ts';

/** Tables and publication that the connector's definition requires. */
export interface SourceDefinition {
  readonly publication: string;
  /** Captured tables, with schema. */
  readonly tables: readonly string[];
  /** Table of backfill signals. It is published, but has no topic. */
  readonly signals: string | undefined;
  /** Name of the replication role. */
  readonly role: string;
}

export interface SourceTable {
  readonly name: string;
  /** OID; null when the table does not exist. */
  readonly oid: number | null;
  readonly partitioned: boolean;
  readonly published: boolean;
  /** OID of the table's entry in the publication; removing and adding the table changes it. Null for a publication of all tables. */
  readonly entry: number | null;
  /** SQL condition of the published rows; null for all. */
  readonly rowFilter: string | null;
  /** The publication's entry lists columns. */
  readonly listed: boolean;
  /** Unpublished columns, including generated ones. */
  readonly unpublished: readonly string[];
  /** Generated columns of the table. */
  readonly generated: readonly { readonly name: string; readonly stored: boolean }[];
  /** The table, or its partitions, without REPLICA IDENTITY FULL; `keyed` if it has a key instead. */
  readonly partial: readonly { readonly name: string; readonly keyed: boolean }[];
  /** Tables that inherit from it and are not partitions. */
  readonly children: readonly string[];
  /** The trigger that refuses TRUNCATE exists and is enabled. */
  readonly truncateRefused: boolean;
  /** Row security applies to the replication role. */
  readonly rowSecurity: boolean;
  /** Rights that the replication role lacks. */
  readonly lackingRights: readonly string[];
}

export interface Source {
  /** `server_version_num`. */
  readonly version: number;
  /** Publication; undefined when it does not exist. */
  readonly publication: Publication | undefined;
  readonly tables: readonly SourceTable[];
  /** Signal table; undefined when the definition has none. */
  readonly signals: SourceTable | undefined;
  /** Published tables outside the definition, by OID. */
  readonly others: ReadonlyMap<number, string>;
  /** The heartbeat row exists. */
  readonly heartbeat: boolean;
  /** `max_slot_wal_keep_size` has a limit. */
  readonly walLimited: boolean;
}

export interface Publication {
  readonly oid: number;
  /** Operations that are not published. */
  readonly unpublished: readonly string[];
  readonly viaRoot: boolean;
}

/** Tables, publication and signal table of a definition. */
export function wantedOf(config: ConnectorConfig): SourceDefinition {
  return {
    publication: config['publication.name'] ?? '',
    tables: (config['table.include.list'] ?? '').split(',').filter((name) => name !== ''),
    signals: config['signal.data.collection'],
    role: config['database.user'] ?? '',
  };
}

export const heartbeatTable = 'public.heartbeat';

type Database = Pick<Client, 'query'>;

export async function readSource(db: Database, wanted: SourceDefinition): Promise<Source> {
  const { publication: name, tables, signals, role } = wanted;
  const { rows: settings } = await db.query<{ version: number; limited: boolean; heartbeat: boolean }>(
    `SELECT current_setting('server_version_num')::int AS version, current_setting('max_slot_wal_keep_size') <> '-1' AS limited,
            to_regclass($1) IS NOT NULL AS heartbeat`,
    [heartbeatTable],
  );
  const { rows: publications } = await db.query<PublicationRow>(
    `SELECT oid::bigint::text AS oid, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication WHERE pubname = $1`,
    [name],
  );
  const all = signals === undefined ? tables : [...tables, signals];
  const { rows } = await db.query<TableRow>(tableQuery, [all, name, role]);
  const found = all.map((table) =>
    tableOf(
      table,
      rows.find((row) => row.name === table),
    ),
  );
  const { rows: published } = await db.query<{ oid: string; name: string }>(
    `SELECT c.oid::bigint::text AS oid, format('%I.%I', schemaname, tablename) AS name
       FROM pg_publication_tables p JOIN pg_class c ON c.oid = to_regclass(format('%I.%I', schemaname, tablename)) WHERE pubname = $1`,
    [name],
  );
  const [publication] = publications;
  return {
    version: settings[0]?.version ?? 0,
    walLimited: settings[0]?.limited === true,
    heartbeat: settings[0]?.heartbeat === true && (await hasHeartbeat(db)),
    publication: publication && publicationOf(publication),
    tables: found.slice(0, tables.length),
    signals: found[tables.length],
    others: new Map(published.filter((each) => !all.includes(each.name)).map((each) => [Number(each.oid), each.name])),
  };
}

async function hasHeartbeat(db: Database): Promise<boolean> {
  const { rowCount } = await db.query(`SELECT FROM ${heartbeatTable} WHERE id = 1`);
  return rowCount === 1;
}

interface PublicationRow {
  oid: string;
  pubinsert: boolean;
  pubupdate: boolean;
  pubdelete: boolean;
  pubtruncate: boolean;
  pubviaroot: boolean;
}

function publicationOf(row: PublicationRow): Publication {
  const operations = ['insert', 'update', 'delete', 'truncate'] as const;
  return {
    oid: Number(row.oid),
    unpublished: operations.filter((operation) => !row[`pub${operation}`]),
    viaRoot: row.pubviaroot,
  };
}

interface TableRow {
  name: string;
  oid: string;
  partitioned: boolean;
  published: boolean;
  entry: string | null;
  row_filter: string | null;
  listed: boolean;
  unpublished: string[];
  generated: { name: string; stored: boolean }[];
  partial: { name: string; keyed: boolean }[];
  children: string[];
  truncate_refused: boolean;
  row_security: boolean;
  lacking: string[];
}

/** $1 tables, $2 publication, $3 role. Rights are checked only if the role exists. */
const tableQuery = `
  SELECT w.name, c.oid::bigint::text AS oid, c.relkind = 'p' AS partitioned, p.attnames IS NOT NULL AS published,
         (SELECT e.oid::bigint::text FROM pg_publication_rel e JOIN pg_publication b ON b.oid = e.prpubid
           WHERE b.pubname = $2 AND e.prrelid = c.oid) AS entry,
         p.rowfilter AS row_filter,
         EXISTS (SELECT FROM pg_publication_rel e JOIN pg_publication b ON b.oid = e.prpubid
                  WHERE b.pubname = $2 AND e.prrelid = c.oid AND e.prattrs IS NOT NULL) AS listed,
         ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                  AND a.attname <> ALL (coalesce(p.attnames, '{}')) ORDER BY a.attnum) AS unpublished,
         coalesce((SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'stored', a.attgenerated = 's') ORDER BY a.attnum) FROM pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> ''), '[]') AS generated,
         coalesce((SELECT jsonb_agg(jsonb_build_object('name', format('%I.%I', l.relnamespace::regnamespace, l.relname), 'keyed',
                     l.relreplident <> 'n' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = l.oid
                       AND (l.relreplident = 'd' AND i.indisprimary OR l.relreplident = 'i' AND i.indisreplident))) ORDER BY l.relname)
                     FROM pg_class l WHERE l.relreplident <> 'f' AND l.relkind = 'r'
                      AND (l.oid = c.oid OR l.oid IN (SELECT relid FROM pg_partition_tree(c.oid)))), '[]') AS partial,
         ARRAY(SELECT h.inhrelid::regclass::text FROM pg_inherits h JOIN pg_class k ON k.oid = h.inhrelid
                WHERE h.inhparent = c.oid AND NOT k.relispartition) AS children,
         EXISTS (SELECT FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
                  WHERE t.tgrelid = c.oid AND f.proname = 'millrace_refuse_truncate' AND t.tgenabled IN ('O', 'A')) AS truncate_refused,
         c.relrowsecurity AND NOT coalesce(r.rolbypassrls OR r.rolsuper OR pg_has_role(r.oid, c.relowner, 'USAGE') AND NOT c.relforcerowsecurity, true) AS row_security,
         CASE WHEN r.oid IS NULL THEN ARRAY['LOGIN', 'REPLICATION'] ELSE array_remove(ARRAY[
           CASE WHEN NOT r.rolcanlogin THEN 'LOGIN' END,
           CASE WHEN NOT (r.rolreplication OR r.rolsuper) THEN 'REPLICATION' END,
           CASE WHEN NOT has_schema_privilege(r.oid, c.relnamespace, 'USAGE') THEN 'USAGE' END,
           CASE WHEN NOT has_table_privilege(r.oid, c.oid, 'SELECT') THEN 'SELECT' END,
           CASE WHEN w.name = '${heartbeatTable}' AND NOT has_any_column_privilege(r.oid, c.oid, 'UPDATE') THEN 'UPDATE' END,
           CASE WHEN w.name = 'public.capture_signals' AND NOT has_table_privilege(r.oid, c.oid, 'INSERT') THEN 'INSERT' END,
           CASE WHEN w.name = 'public.capture_signals' AND NOT has_table_privilege(r.oid, c.oid, 'DELETE') THEN 'DELETE' END
         ], NULL) END AS lacking
    FROM unnest($1::text[]) AS w (name)
    JOIN pg_class c ON c.oid = to_regclass(w.name)
    LEFT JOIN pg_roles r ON r.rolname = $3
    LEFT JOIN pg_publication_tables p ON p.pubname = $2 AND to_regclass(format('%I.%I', p.schemaname, p.tablename)) = c.oid`;

function tableOf(name: string, row: TableRow | undefined): SourceTable {
  return {
    name,
    oid: row === undefined ? null : Number(row.oid),
    partitioned: row?.partitioned ?? false,
    published: row?.published ?? false,
    entry: row?.entry == null ? null : Number(row.entry),
    rowFilter: row?.row_filter ?? null,
    listed: row?.listed ?? false,
    unpublished: row?.unpublished ?? [],
    generated: row?.generated ?? [],
    partial: row?.partial ?? [],
    children: row?.children ?? [],
    truncateRefused: row?.truncate_refused ?? false,
    rowSecurity: row?.row_security ?? false,
    lackingRights: row?.lacking ?? [],
  };
}
