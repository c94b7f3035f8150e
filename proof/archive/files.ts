import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectList } from '../../core/archive/listing/table.ts';
import { duckdbType } from '../../core/archive/reading/duckdb.ts';
import { fileColumn } from '../../core/archive/reading/views.ts';
import { columnsWithLineage, type Table, tables } from '../../core/archive/rows/tables.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import { mapConcurrently } from '../../core/base/map-concurrently.ts';
import { duckdbHash, duckdbRowHash, type TypedColumn } from '../../core/values/rowhash/rowhash.ts';
import { sha256Of } from '../../core/values/sha256.ts';
import { literal, quoted } from '../../core/values/sql.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import { Scratch, type ScratchParts, scratchParts } from '../reading/scratch.ts';
import { Differences } from '../report/report.ts';

const downloads = 8;

/**
 * The listed objects of a topic on local disk, with DuckDB's view `archived` over them: the topic's columns, the lineage and `filename`. A
 * column `filename` of the source is hidden. Without readable objects the view is empty. Not its job: unlisted objects in the bucket.
 */
export class Files extends Scratch {
  /** Objects that are missing, unreadable, or have other bytes than their record says. */
  readonly differences = new Differences();
  /** Data and lineage: the columns that all objects have. */
  readonly columns: readonly TypedColumn[];

  private constructor(columns: readonly TypedColumn[], parts: ScratchParts) {
    super(parts);
    this.columns = columns;
  }

  static async download(store: ObjectStore, topic: ArchivedTopic, objects: ObjectList): Promise<Files> {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { writer_version } of objects) oldest = Math.min(oldest, writer_version);
    const files = new Files(columnsWithLineage(tables[topic], oldest), await scratchParts());
    try {
      const readable = await files.#fetchAll(store, objects);
      await files.#open(readable);
      return files;
    } catch (error) {
      await files[Symbol.asyncDispose]();
      throw error;
    }
  }

  pathOf(index: number): string {
    return join(this.dir, `${index}.parquet`);
  }

  /** Fetches the objects. Returns the paths of the readable ones. */
  async #fetchAll(store: ObjectStore, objects: ObjectList): Promise<string[]> {
    const readable = await mapConcurrently(objects, downloads, (object, i) =>
      this.#fetch(store, object, this.pathOf(i)),
    );
    return readable.flatMap((isReadable, i) => (isReadable ? [this.pathOf(i)] : []));
  }

  async #fetch(store: ObjectStore, object: ArchiveObject, path: string): Promise<boolean> {
    const stored = await store.get(object.key);
    if (stored === undefined) {
      this.differences.add(`${object.key} is listed but not in the bucket`);
      return false;
    }
    await writeFile(path, stored.bytes);
    const sha256 = sha256Of(stored.bytes);
    if (sha256 === object.sha256) return true;
    this.differences.add(`${object.key} has SHA-256 ${sha256}, its record says ${object.sha256}`);
    // Other bytes may still be a Parquet file. Then its rows are compared too, which names the difference.
    return this.query(`SELECT count(*) FROM read_parquet('${path}')`).then(
      () => true,
      (error: Error) => {
        this.differences.add(`${object.key} cannot be read: ${error.message.split('\n')[0]}`);
        return false;
      },
    );
  }

  async #open(paths: readonly string[]): Promise<void> {
    if (paths.length > 0) {
      const list = paths.map((path) => `'${path}'`).join(', ');
      await this.db.run(
        `CREATE VIEW archived AS SELECT COLUMNS(lambda name: lower(name) NOT IN ('filename', ${literal(fileColumn)})), ${quoted(fileColumn)} AS filename
           FROM read_parquet([${list}], filename = ${literal(fileColumn)}, union_by_name = true)`,
      );
      return;
    }
    const columns = this.columns.map(({ name, type }) => `NULL::${duckdbType(type)} AS "${name}"`);
    await this.db.run(
      `CREATE VIEW archived AS SELECT ${columns.join(', ')}, NULL::VARCHAR AS filename FROM range(1) WHERE false`,
    );
  }

  /**
   * Reads the files once for all checks. Creates the table `hashed`, one row for each archived row: `file` (index of its object), partition
   * `p`, offset `o`, event time `t` (without one the commit time; microseconds), row hash `data` of the data columns, row hash `whole` with
   * the lineage too, and the columns `also`.
   */
  async hash({ columns: data, eventTime }: Table, also: readonly string[]): Promise<void> {
    // Text conversion dominates the time, so the data's text is built once for both hashes.
    const lineage = this.columns.slice(data.length);
    const asked = also.map((name) => `, ${quoted(name)}`).join('');
    await this.db.run(`
      CREATE TABLE hashed AS
        SELECT file, p, o, t, ${duckdbRowHash('data')} AS data, ${duckdbRowHash('concat_ws(chr(31), data, lineage)')} AS whole${asked}
          FROM (SELECT regexp_extract(filename, '(\\d+)\\.parquet$', 1)::INTEGER AS file, _partition AS p, _offset AS o,
                       epoch_us(coalesce(${eventTime === null ? 'NULL' : quoted(eventTime)}, _source_time)) AS t,
                       ${duckdbHash.text(data)} AS data, ${duckdbHash.text(lineage)} AS lineage${asked} FROM archived)`);
  }
}
