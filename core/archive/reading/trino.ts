/** The archive in the words of Trino's Hive connector, which reads by prefix and not by list. */
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import type { ColumnType } from '../../values/rowhash/rowhash.ts';
import { literal, quoted } from '../../values/sql.ts';
import { columnsWithLineage, tables } from '../rows/tables.ts';
import { namings, newestOf, pathColumns } from './views.ts';

const schema = 'hive.millrace';

export function trinoType(type: ColumnType): string {
  switch (type.kind) {
    case 'text':
      return 'varchar';
    case 'boolean':
      return 'boolean';
    case 'int':
      return 'integer';
    case 'long':
      return 'bigint';
    case 'timestamp':
      return 'timestamp(6)';
    case 'decimal':
      return `decimal(${type.precision}, ${type.scale})`;
  }
}

/**
 * The statements for one topic: an external table per tree of files, and over them a view with each row once and a view of the newest
 * rows. Files that are under the prefix and not listed yet are read too; they hold rows that will be listed, which is why the view takes
 * each row once.
 *
 * @param trees URLs of the folders that hold `year=…`, one per epoch and prefix, ending with a slash
 */
export function trinoTables(topic: ArchivedTopic, trees: readonly string[]): string {
  const { all, newest } = namings[topic];
  const names = trees.map((_tree, i) => `${all}_files${i === 0 ? '' : `_${i + 1}`}`);
  const columns = columnsWithLineage(tables[topic])
    .map(({ name }) => quoted(name))
    .join(', ');
  const selected = `${columns}, ${pathColumns.map(quoted).join(', ')}`;
  // A row is of one day; with the path's columns a filter on them reaches the files.
  const identity = [...pathColumns, '_topic', '_partition', '_offset'].map(quoted).join(', ');
  const everything = names.map((name) => `SELECT ${selected} FROM ${schema}.${name}`).join('\n    UNION ALL ');
  return `${trees.map((tree, i) => externalTable(topic, names[i] ?? '', tree)).join('')}CREATE OR REPLACE VIEW ${schema}.${all} AS
SELECT ${selected} FROM (
  SELECT *, row_number() OVER (PARTITION BY ${identity} ORDER BY "_offset") AS reading FROM (
    ${everything}
  )
) WHERE reading = 1;

CREATE OR REPLACE VIEW ${schema}.${newest} AS
${newestOf(topic, `${schema}.${all}`, selected)};
`;
}

function externalTable(topic: ArchivedTopic, name: string, tree: string): string {
  const columns = columnsWithLineage(tables[topic]).map(({ name, type }) => `  ${quoted(name)} ${trinoType(type)}`);
  const path = pathColumns.map((name) => `  ${quoted(name)} varchar`);
  return `CREATE TABLE IF NOT EXISTS ${schema}.${name} (
${[...columns, ...path].join(',\n')}
) WITH (
  external_location = ${literal(tree)},
  format = 'PARQUET',
  partitioned_by = ARRAY[${pathColumns.map(literal).join(', ')}]
);
-- Finds the days; again whenever there are new ones.
CALL hive.system.sync_partition_metadata('millrace', ${literal(name)}, 'FULL');

`;
}

export const trinoPreamble = `-- Reading by prefix is at least once: what a cut is just writing, and what a compaction has replaced, is read as well. The views
-- take each row once, by (_topic, _partition, _offset); the tables *_files do not.
-- Timestamps are UTC, in microseconds, which the connector reads when it is told so.
SET SESSION hive.timestamp_precision = 'MICROSECONDS';
CREATE SCHEMA IF NOT EXISTS ${schema};

`;
