import {
  type DuckDBConnection,
  DuckDBInstance,
  type DuckDBPreparedStatement,
  DuckDBTimestampTZValue,
  DuckDBTypeId,
  type Json,
  StatementType,
} from '@duckdb/node-api';
import { type ArchivedTopic, archivedTopics } from '../../../schemas/topics.ts';
import { MillraceError } from '../../base/errors.ts';
import { literal, quoted } from '../../values/sql.ts';
import { duckdbSource, duckdbUnread, duckdbViews } from './duckdb.ts';
import { mentionedTopics, namings, viewNames } from './views.ts';

export interface QueryOptions {
  /** Local files of each topic that the statement may read. */
  readonly files: ReadonlyMap<ArchivedTopic, readonly string[]>;
  /** Where DuckDB puts what its memory cannot hold; the caller removes it. */
  readonly scratchDir: string;
  /** Memory of DuckDB, bytes. Default 1 GiB. */
  readonly memoryBytes?: number;
}

export interface ResultColumn {
  /** As the statement names it. */
  readonly name: string;
  /** In DuckDB's words: `DECIMAL(20,8)`. */
  readonly type: string;
  readonly numeric: boolean;
  /** Binary floating point: made by the statement, since the archive has none. */
  readonly inexact: boolean;
}

/** A value as text, the same whatever the machine's time zone and locale; null is null. Decimals have all digits of their scale. */
export type Cell = string | null;

export interface QueryResult {
  readonly columns: readonly ResultColumn[];
  /** Rows in portions, while the statement runs. Read once, either way. */
  cells(): AsyncIterable<readonly (readonly Cell[])[]>;
  /** As cells, for JSON: integers of 32 bits, floats and booleans as they are, everything that JSON would round as text. */
  json(): AsyncIterable<readonly (readonly Json[])[]>;
}

/** What a statement needs fetched. One that only asks for columns needs nothing. */
export function topicsToFetch(sql: string): readonly ArchivedTopic[] {
  return /^\s*(describe|desc|show)\b/i.test(sql) ? [] : mentionedTopics(sql);
}

/**
 * DuckDB over files of the archive: for each topic a view by its own name (`market.candles`, with or without quotes), one by its short name
 * (`candles`), and one of the newest rows (`candles_newest`).
 *
 * One SELECT at a time and nothing else. Beside the given files DuckDB reaches nothing: no other file, no network, no extension.
 */
export class ArchiveQuery implements AsyncDisposable {
  readonly #instance: DuckDBInstance;
  readonly #db: DuckDBConnection;
  readonly #interrupter = new Repeater();

  private constructor(instance: DuckDBInstance, db: DuckDBConnection) {
    this.#instance = instance;
    this.#db = db;
  }

  static async open(options: QueryOptions): Promise<ArchiveQuery> {
    // Times as text are those of the session's time zone; the client takes the machine's.
    DuckDBTimestampTZValue.timezoneOffsetInMinutes = 0;
    const instance = await DuckDBInstance.create(':memory:');
    const query = new ArchiveQuery(instance, await instance.connect());
    try {
      await query.#setUp(options);
      return query;
    } catch (error) {
      await query[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Starts a statement. Its rows come while it runs, so memory does not grow with them.
   *
   * @throws MillraceError QUERY_FAILED: not one SELECT, or what DuckDB says, also later from the rows.
   */
  async run(sql: string, signal?: AbortSignal): Promise<QueryResult> {
    signal?.throwIfAborted();
    const failed = (error: unknown): unknown => (signal?.aborted === true ? signal.reason : queryError(error));
    // DuckDB forgets an interrupt that comes while it does nothing, so one is not enough.
    const interrupter = this.#interrupter;
    const interrupt = (): void => interrupter.start(() => this.#db.interrupt());
    const end = (): void => {
      signal?.removeEventListener('abort', interrupt);
      interrupter.stop();
    };
    signal?.addEventListener('abort', interrupt, { once: true });
    const guarded = async function* <T>(rows: AsyncIterable<T>): AsyncGenerator<T> {
      try {
        for await (const portion of rows) {
          signal?.throwIfAborted();
          yield portion;
        }
      } catch (error) {
        throw failed(error);
      } finally {
        end();
      }
    };
    try {
      const result = await (await this.#prepare(sql)).stream();
      const names = result.columnNames();
      return {
        columns: result.columnTypes().map((type, i) => ({
          name: names[i] ?? '',
          type: String(type),
          numeric: numeric.has(type.typeId),
          inexact: inexact.has(type.typeId),
        })),
        cells: () => guarded(cellsOf(result.yieldRows())),
        json: () => guarded(result.yieldRowsJson()),
      };
    } catch (error) {
      end();
      throw failed(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#interrupter.stop();
    this.#db.closeSync();
    this.#instance.closeSync();
  }

  async #setUp({ files, scratchDir, memoryBytes = 1024 ** 3 }: QueryOptions): Promise<void> {
    await this.#db.run(
      `SET TimeZone = 'UTC'; SET memory_limit = '${memoryBytes}B'; SET temp_directory = ${literal(scratchDir)}`,
    );
    for (const topic of archivedTopics) {
      const paths = files.get(topic);
      const source = paths === undefined ? duckdbUnread(topic, unread(topic)) : duckdbSource(topic, paths);
      await this.#db.run(duckdbViews(topic, source));
      await this.#nameAsTopic(topic, source);
    }
    const paths = [...files.values()].flat();
    // In this order: from here on DuckDB opens these files and nothing else, and no statement changes that.
    await this.#db.run(
      `SET allowed_paths = [${paths.map(literal).join(', ')}]; SET enable_external_access = false; SET lock_configuration = true`,
    );
  }

  /** `cdc.public.trades` is the view `trades` of the schema `public` of the database `cdc`; in quotes it is one name. */
  async #nameAsTopic(topic: ArchivedTopic, source: string): Promise<void> {
    const parts = topic.split('.').map(quoted);
    const [first = '', second = ''] = parts;
    if (parts.length === 3) {
      await this.#db.run(`ATTACH IF NOT EXISTS ':memory:' AS ${first}; CREATE SCHEMA IF NOT EXISTS ${first}.${second}`);
    } else {
      await this.#db.run(`CREATE SCHEMA IF NOT EXISTS ${first}`);
    }
    await this.#db.run(`CREATE VIEW ${parts.join('.')} AS ${source}; CREATE VIEW ${quoted(topic)} AS ${source}`);
  }

  async #prepare(sql: string): Promise<DuckDBPreparedStatement> {
    // What the client says of an empty text is no sentence.
    if (/^(\s|;|--.*(\n|$)|\/\*[\s\S]*?\*\/)*$/.test(sql)) throw refused('there is no statement');
    const statements = await this.#db.extractStatements(sql);
    if (statements.count !== 1) throw refused(`one SELECT at a time: these are ${statements.count} statements`);
    const statement = await statements.prepare(0);
    if (statement.statementType !== StatementType.SELECT) {
      const type = StatementType[statement.statementType] ?? 'this';
      throw refused(`the archive is only read, and ${type.toUpperCase()} is no SELECT`);
    }
    if (statement.parameterCount > 0) throw refused('a parameter has no value here: write the value itself');
    return statement;
  }
}

/** Does something now and again until it is stopped. */
class Repeater {
  #timer: NodeJS.Timeout | undefined;

  start(act: () => void): void {
    act();
    this.#timer ??= setInterval(act, 20);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

const numeric: ReadonlySet<DuckDBTypeId> = new Set([
  DuckDBTypeId.TINYINT,
  DuckDBTypeId.SMALLINT,
  DuckDBTypeId.INTEGER,
  DuckDBTypeId.BIGINT,
  DuckDBTypeId.HUGEINT,
  DuckDBTypeId.UTINYINT,
  DuckDBTypeId.USMALLINT,
  DuckDBTypeId.UINTEGER,
  DuckDBTypeId.UBIGINT,
  DuckDBTypeId.UHUGEINT,
  DuckDBTypeId.DECIMAL,
  DuckDBTypeId.FLOAT,
  DuckDBTypeId.DOUBLE,
]);
const inexact: ReadonlySet<DuckDBTypeId> = new Set([DuckDBTypeId.FLOAT, DuckDBTypeId.DOUBLE]);

async function* cellsOf(portions: AsyncIterable<readonly (readonly unknown[])[]>): AsyncGenerator<Cell[][]> {
  for await (const rows of portions) {
    yield rows.map((row) => row.map((value) => (value === null ? null : String(value))));
  }
}

function unread(topic: ArchivedTopic): string {
  const { all, newest } = namings[topic];
  return `${topic} was not fetched: write ${all} or ${newest} in the statement`;
}

function refused(message: string): MillraceError {
  return new MillraceError('QUERY_FAILED', message, {
    remedy: 'give one SELECT, DESCRIBE or SUMMARIZE; SHOW TABLES lists what there is',
  });
}

/** What DuckDB says, its headline as the message and the place as the cause. */
function queryError(error: unknown): MillraceError {
  if (error instanceof MillraceError) return error;
  const text = (error as Error).message.replace(/^Failed to extract statements: /, '');
  const [headline = '', ...rest] = text.split('\n');
  const place = rest.slice(rest.findIndex((line) => /^LINE \d+:/.test(line))).join('\n');
  const cause = /^LINE \d+:/.test(place) ? { cause: new Error(place) } : {};
  const hint = rest.find((line) => /^Did you mean|^Candidate bindings/.test(line));
  return new MillraceError('QUERY_FAILED', headline, { ...cause, remedy: remedyOf(headline, hint) });
}

function remedyOf(headline: string, hint: string | undefined): string {
  if (/^Catalog Error: Table with name/.test(headline))
    return `there are ${viewNames.join(', ')}, and the topics' own names`;
  if (/^Permission Error/.test(headline)) return 'a statement reads the archive and nothing else';
  if (/^Out of Memory Error/.test(headline)) return 'read fewer days (--day, --from, --to), or select fewer columns';
  return hint ?? 'correct the statement; DESCRIBE trades shows the columns of a table';
}
