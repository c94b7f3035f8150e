/** The archive in the words of DuckDB: types, views over files, and a script for any DuckDB that reaches the bucket. */
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import type { ColumnType } from '../../values/rowhash/rowhash.ts';
import { literal, quoted } from '../../values/sql.ts';
import { columnsWithLineage, tables } from '../rows/tables.ts';
import { namings, newestOf, pathColumns } from './views.ts';

export function duckdbType(type: ColumnType): string {
  switch (type.kind) {
    case 'text':
      return 'VARCHAR';
    case 'boolean':
      return 'BOOLEAN';
    case 'int':
      return 'INTEGER';
    case 'long':
      return 'BIGINT';
    case 'timestamp':
      return 'TIMESTAMPTZ';
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`;
  }
}

/**
 * A SELECT of all rows of the files: data, lineage, then year, month and day of the path, by which DuckDB leaves whole files out. A column
 * that older files lack is null there. Without files it has no row, and the columns that our schemas give.
 *
 * @param urls paths or `s3://…`, ending as the archive's keys do: `…/year=YYYY/month=MM/day=DD/<file>`
 */
export function duckdbSource(topic: ArchivedTopic, urls: readonly string[]): string {
  if (urls.length === 0) return emptySource(topic, 'false');
  const path = pathColumns.join(', ');
  return `SELECT * EXCLUDE (${path}), ${path} FROM read_parquet([
  ${urls.map(literal).join(',\n  ')}
], union_by_name = true, hive_partitioning = true, hive_types_autocast = false)`;
}

/** The topic's columns without a row; reading it fails with the message. */
export function duckdbUnread(topic: ArchivedTopic, message: string): string {
  return emptySource(topic, `error(${literal(message)})::BOOLEAN`);
}

function emptySource(topic: ArchivedTopic, condition: string): string {
  const typed = columnsWithLineage(tables[topic]).map(
    ({ name, type }) => `NULL::${duckdbType(type)} AS ${quoted(name)}`,
  );
  return `SELECT ${[...typed, ...pathColumns.map((name) => `NULL::VARCHAR AS ${name}`)].join(', ')} WHERE ${condition}`;
}

/** The statements that make a topic's views: all rows, and each key's newest. */
export function duckdbViews(topic: ArchivedTopic, source: string): string {
  const { all, newest } = namings[topic];
  return `CREATE OR REPLACE VIEW ${all} AS
${source};
CREATE OR REPLACE VIEW ${newest} AS
${newestOf(topic, all, '* EXCLUDE (newest_first)')};
`;
}

export interface Bucket {
  /** URL of the service. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
}

/** How DuckDB is told to reach the bucket, as a comment: the keys are the reader's own and are never printed. */
export function duckdbSecretHint({ endpoint, region, bucket }: Bucket): string {
  const { host, protocol } = new URL(endpoint);
  return `-- Once per session, with your own keys:
--   INSTALL httpfs; LOAD httpfs;
--   CREATE OR REPLACE SECRET millrace (TYPE s3, KEY_ID '<access key id>', SECRET '<secret access key>',
--     REGION ${literal(region)}, ENDPOINT ${literal(host)}, URL_STYLE 'path', USE_SSL ${protocol === 'https:'}, SCOPE ${literal(`s3://${bucket}`)});
`;
}
