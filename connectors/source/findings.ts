/**
 * Compares the source's settings with the definition. Pure. A running connector and an active slot do not prove that the capture is
 * complete.
 */
import { quoted } from '../../core/values/sql.ts';
import type { CaptureRecord, Missed, TableIdentities } from './record.ts';
import { heartbeatTable, type Source, type SourceDefinition, type SourceTable } from './source.ts';

/**
 * `blind`: changes are not captured, or only in part. `refused`: Postgres refuses statements of the application because of the capture.
 * `missed`: changes were not captured for a time; a recapture finds them. `weak`: capture goes on without one of its protections.
 */
export type Effect = 'blind' | 'refused' | 'missed' | 'weak';

export const effects: readonly Effect[] = ['blind', 'refused', 'missed', 'weak'];

export interface SourceFinding {
  readonly effect: Effect;
  /** Table or publication. */
  readonly subject: string;
  /** Cause, one sentence. */
  readonly cause: string;
  /** Remedy: SQL, or a command. */
  readonly remedy: string;
  /** Rows written now will also be missing in the log after the remedy: a recapture finds them. */
  readonly loses: boolean;
}

const recapture = 'millrace connectors recapture';
/** First version that supports `publish_generated_columns` and refuses writes of unpublished generated columns. */
const generatedVersion = 180_000;

/** Findings, worst first. A parked table has only those that affect the application. */
export function findingsOf(wanted: SourceDefinition, source: Source, record: CaptureRecord): readonly SourceFinding[] {
  const parked = record.parked ?? {};
  const now = [
    ...publicationFindings(wanted, source),
    ...source.tables.flatMap((table) => tableFindings(wanted, source, table, record.seen ?? {})),
    ...(source.signals === undefined ? [] : signalFindings(wanted, source, source.signals)),
    ...databaseFindings(source),
  ];
  // A table that is still losing changes has one finding only.
  const losing = new Set(now.filter(({ loses }) => loses).map(({ subject }) => subject));
  const missed = missedFindings(wanted, source, record).filter(({ subject }) => !losing.has(subject));
  return [...now, ...missed]
    .filter(({ subject, effect }) => parked[subject] === undefined || effect === 'refused')
    .sort((a, b) => effects.indexOf(a.effect) - effects.indexOf(b.effect));
}

/** Tables that miss changes now, for the capture record. */
export function missedNow(findings: readonly SourceFinding[], since: string): Missed {
  const losing = findings.filter(({ loses }) => loses);
  return Object.fromEntries(losing.reverse().map(({ subject, cause }) => [subject, { since, cause }]));
}

/** Identities of the publication and of its tables. */
export function seenIn({ publication }: SourceDefinition, source: Source): TableIdentities {
  const seen: TableIdentities = {};
  if (source.publication !== undefined) seen[publication] = { oid: source.publication.oid, entry: null };
  for (const { name, oid, entry, published } of source.tables) {
    if (oid !== null && published) seen[name] = { oid, entry };
  }
  return seen;
}

function publicationFindings(
  { publication: name, tables, signals }: SourceDefinition,
  source: Source,
): SourceFinding[] {
  const { publication } = source;
  if (publication === undefined) {
    const all = [...tables, ...(signals === undefined ? [] : [signals])].join(', ');
    const options = source.version >= generatedVersion ? ' WITH (publish_generated_columns = stored)' : '';
    return [
      {
        ...{ effect: 'blind', subject: name, loses: true },
        cause: `there is no publication ${name}`,
        remedy: `CREATE PUBLICATION ${quoted(name)} FOR TABLE ${all}${options};`,
      },
    ];
  }
  if (publication.unpublished.length === 0) return [];
  return [
    {
      ...{ effect: 'blind', subject: name, loses: true },
      cause: `publication ${name} leaves out ${publication.unpublished.map((each) => each.toUpperCase()).join(', ')}`,
      remedy: `ALTER PUBLICATION ${quoted(name)} SET (publish = 'insert, update, delete, truncate');`,
    },
  ];
}

function tableFindings(
  wanted: SourceDefinition,
  source: Source,
  table: SourceTable,
  seen: TableIdentities,
): SourceFinding[] {
  const { name } = table;
  if (table.oid === null) {
    return [
      {
        ...{ effect: 'blind', subject: name, loses: true },
        cause: `there is no table ${name}`,
        remedy: 'Rename the table back, or make it again with `REPLICA IDENTITY FULL` and in the publication.',
      },
    ];
  }
  return [
    ...publishedFindings(wanted, source, table, seen),
    ...identityFindings(table),
    ...refusedFindings(wanted, source, table),
    ...weakFindings(wanted, table),
  ];
}

/** Findings about unpublished parts of an existing table. */
function publishedFindings(
  wanted: SourceDefinition,
  source: Source,
  table: SourceTable,
  seen: TableIdentities,
): SourceFinding[] {
  const { name } = table;
  const publication = quoted(wanted.publication);
  const blind = (cause: string, remedy: string): SourceFinding => ({
    ...{ effect: 'blind', subject: name, loses: true },
    ...{ cause, remedy },
  });
  if (source.publication === undefined) return [];
  if (!table.published) {
    const before = seen[name] === undefined ? undefined : source.others.get(seen[name].oid);
    const add = `ALTER PUBLICATION ${publication} ADD TABLE ${name};`;
    return before === undefined
      ? [blind(`${name} is not in publication ${wanted.publication}`, add)]
      : [
          blind(
            `${name} is another table than the one that was captured, which is ${before} now; publication ${wanted.publication} follows that one`,
            `${add} ALTER PUBLICATION ${publication} DROP TABLE ${before};`,
          ),
        ];
  }
  const found: SourceFinding[] = [];
  if (table.rowFilter !== null) {
    found.push(
      blind(`publication ${wanted.publication} has only rows of ${name} with ${table.rowFilter}`, again(wanted, name)),
    );
  }
  if (table.listed && table.unpublished.length > 0) {
    const columns = table.unpublished.join(', ');
    found.push(blind(`publication ${wanted.publication} leaves out column ${columns} of ${name}`, again(wanted, name)));
  }
  if (table.partitioned && !source.publication.viaRoot) {
    found.push(
      blind(
        `${name} is partitioned, and publication ${wanted.publication} names its partitions instead`,
        `ALTER PUBLICATION ${publication} SET (publish_via_partition_root = true);`,
      ),
    );
  }
  if (table.children.length > 0) {
    found.push(
      blind(
        `rows of ${table.children.join(', ')} are seen in ${name} by inheritance, and are captured under another name, if at all`,
        `Move the rows to ${name}; ${table.children.map((child) => `ALTER TABLE ${child} NO INHERIT ${name};`).join(' ')}`,
      ),
    );
  }
  return found;
}

/** A row without any identity cannot be updated. A row with only a key is captured without its old values. */
function identityFindings({ name, partial }: SourceTable): SourceFinding[] {
  const [keyless, keyed] = [partial.filter((each) => !each.keyed), partial.filter((each) => each.keyed)];
  const remedyOf = (tables: SourceTable['partial']): string =>
    tables.map((each) => `ALTER TABLE ${each.name} REPLICA IDENTITY FULL;`).join(' ');
  const found: SourceFinding[] = [];
  if (keyless.length > 0) {
    found.push({
      ...{ effect: 'refused', subject: name, loses: false, remedy: remedyOf(keyless) },
      cause: `${namesOf(keyless)} has no replica identity: Postgres refuses its UPDATE and DELETE`,
    });
  }
  // The heartbeat row has no history.
  if (keyed.length > 0 && name !== heartbeatTable) {
    found.push({
      ...{ effect: 'blind', subject: name, loses: false, remedy: remedyOf(keyed) },
      cause: `${namesOf(keyed)} has no REPLICA IDENTITY FULL: updates and deletes do not tell the whole row, and readers put them to their dead letters`,
    });
  }
  return found;
}

function namesOf(tables: readonly { readonly name: string }[]): string {
  return tables.map(({ name }) => name).join(', ');
}

/** A replica identity of all columns requires that all columns are published. */
function refusedFindings(wanted: SourceDefinition, source: Source, table: SourceTable): SourceFinding[] {
  const { name, generated, unpublished, partial, published } = table;
  if (partial.length > 0 || !published) return [];
  const refused = (cause: string, remedy: string): SourceFinding => ({
    ...{ effect: 'refused', subject: name, loses: false },
    ...{ cause: `Postgres refuses UPDATE and DELETE of ${name}: ${cause}`, remedy },
  });
  if (table.listed) {
    // The remedy for unpublished columns also solves this.
    return unpublished.length === 0
      ? []
      : [refused('columns of its replica identity are not published', again(wanted, name))];
  }
  if (source.version < generatedVersion) return [];
  const virtual = generated.filter(({ stored }) => !stored).map((column) => column.name);
  const stored = generated.filter((column) => column.stored && unpublished.includes(column.name));
  const found: SourceFinding[] = [];
  if (stored.length > 0) {
    found.push(
      refused(
        `generated column ${stored.map((column) => column.name).join(', ')} is not published`,
        `ALTER PUBLICATION ${quoted(wanted.publication)} SET (publish_generated_columns = stored);`,
      ),
    );
  }
  if (virtual.length > 0) {
    found.push(
      refused(
        `virtual generated column ${virtual.join(', ')} cannot be published`,
        virtual.map((column) => `ALTER TABLE ${name} DROP COLUMN ${quoted(column)};`).join(' '),
      ),
    );
  }
  return found;
}

function again({ publication }: SourceDefinition, name: string): string {
  const of = quoted(publication);
  return `BEGIN; ALTER PUBLICATION ${of} DROP TABLE ${name}; ALTER PUBLICATION ${of} ADD TABLE ${name}; COMMIT;`;
}

function weakFindings({ role }: SourceDefinition, table: SourceTable): SourceFinding[] {
  const { name } = table;
  const weak = (cause: string, remedy: string): SourceFinding => ({
    ...{ effect: 'weak', subject: name, loses: false },
    ...{ cause, remedy },
  });
  const found: SourceFinding[] = [];
  if (table.lackingRights.length > 0) {
    const what = `role ${role} lacks ${table.lackingRights.join(', ')}`;
    found.push(weak(`${what} for ${name}`, rightsRemedy(role, table)));
  }
  if (!table.truncateRefused && name !== heartbeatTable) {
    found.push(
      weak(
        `the trigger that refuses TRUNCATE of ${name} is gone or disabled`,
        `CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON ${name} FOR EACH STATEMENT EXECUTE FUNCTION millrace_refuse_truncate(); ALTER TABLE ${name} ENABLE TRIGGER refuse_truncate;`,
      ),
    );
  }
  if (table.rowSecurity) {
    found.push(
      weak(
        `row security of ${name} applies to role ${role}: snapshots and backfills read fewer rows in silence`,
        `ALTER ROLE ${quoted(role)} BYPASSRLS;`,
      ),
    );
  }
  return found;
}

function rightsRemedy(role: string, { name, lackingRights }: SourceTable): string {
  const [schema = ''] = name.split('.');
  const to = quoted(role);
  const statements = lackingRights.map((right) =>
    right === 'LOGIN' || right === 'REPLICATION'
      ? `ALTER ROLE ${to} ${right};`
      : right === 'USAGE'
        ? `GRANT USAGE ON SCHEMA ${schema} TO ${to};`
        : `GRANT ${right} ON ${name} TO ${to};`,
  );
  return statements.join(' ');
}

/** Backfills need this table. */
function signalFindings(wanted: SourceDefinition, source: Source, table: SourceTable): SourceFinding[] {
  if (table.oid === null || (source.publication !== undefined && !table.published)) {
    return [
      {
        ...{ effect: 'weak', subject: table.name, loses: false },
        cause: `${table.name} is not in publication ${wanted.publication}: backfills never begin`,
        remedy:
          table.oid === null
            ? 'millrace db migrate'
            : `ALTER PUBLICATION ${quoted(wanted.publication)} ADD TABLE ${table.name};`,
      },
    ];
  }
  // The signal table needs no trigger against TRUNCATE: its rows have no topic.
  return [...refusedFindings(wanted, source, table), ...weakFindings(wanted, { ...table, truncateRefused: true })];
}

function databaseFindings({ heartbeat, walLimited }: Source): SourceFinding[] {
  const found: SourceFinding[] = [];
  if (!heartbeat) {
    found.push({
      ...{ effect: 'weak', subject: heartbeatTable, loses: false },
      cause: `${heartbeatTable} has no row: log time stands still in a quiet market`,
      remedy: `INSERT INTO ${heartbeatTable} (id, beat, at) VALUES (1, 0, now());`,
    });
  }
  if (!walLimited) {
    found.push({
      ...{ effect: 'weak', subject: 'max_slot_wal_keep_size', loses: false },
      cause: 'max_slot_wal_keep_size has no limit: a capture that is down for long fills the disk of Postgres',
      remedy: `ALTER SYSTEM SET max_slot_wal_keep_size = '8GB'; SELECT pg_reload_conf();`,
    });
  }
  return found;
}

/** Gaps recorded before, and gaps shown by changed identities: a table or publication entry that was recreated between two looks. */
function missedFindings(
  wanted: SourceDefinition,
  source: Source,
  { missed = {}, seen = {} }: CaptureRecord,
): SourceFinding[] {
  const found: SourceFinding[] = [];
  const add = (subject: string, cause: string): void => {
    if (found.some((each) => each.subject === subject)) return;
    found.push({
      effect: 'missed',
      subject,
      cause: `${cause}: changes may be missing`,
      remedy: recapture,
      loses: false,
    });
  };
  for (const [subject, { since, cause }] of Object.entries(missed)) add(subject, `${cause}, from ${since} on`);
  const known = seen[wanted.publication];
  const { publication } = source;
  if (known !== undefined && publication !== undefined && known.oid !== publication.oid) {
    add(wanted.publication, `publication ${wanted.publication} was made anew`);
    return found;
  }
  for (const { name, oid, entry, published } of source.tables) {
    const before = seen[name];
    if (before === undefined || oid === null || !published) continue;
    if (before.oid !== oid) add(name, `${name} is another table than the one that was captured`);
    else if (before.entry !== entry)
      add(name, `${name} was taken out of publication ${wanted.publication} and put back`);
  }
  return found;
}
