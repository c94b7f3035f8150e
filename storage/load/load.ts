/** Loads a file of trades into Postgres. A second load adds nothing, and one that was interrupted goes on when it is started again. */
import { stat } from 'node:fs/promises';
import { type Client, DatabaseError } from 'pg';
import { MillraceError } from '../../core/errors.ts';
import { connectPostgres } from '../../core/postgres.ts';
import { addInstrument, type BatchResult, openStaging, writeBatch } from './batch.ts';
import { type Field, type Format, formats, layoutOf } from './formats.ts';
import { type CsvLine, type CsvSource, contentHash, readCsv } from './reader.ts';
import { RejectFile } from './rejects.ts';
import { parseRow, type RowContext, RowError, type TradeRow } from './row.ts';

export interface LoadOptions {
  /** Connection string; the role must be allowed to insert into trades and instruments. */
  readonly url: string;
  readonly file: string;
  /** Default: recognised by the column names. */
  readonly format?: Format;
  readonly venue?: string;
  readonly symbol?: string;
  /** Default `,`. */
  readonly delimiter?: string;
  /** Rows per transaction. Default 10,000. */
  readonly batchRows?: number;
  /** Default: beside the file, `<file>.rejects.csv`. */
  readonly rejectFile?: string;
  /** Called after every transaction. */
  readonly onProgress?: (progress: LoadProgress) => void;
  readonly signal?: AbortSignal;
}

export interface LoadCounts {
  /** Lines of the file, without its header. */
  readonly read: number;
  readonly inserted: number;
  /** Already there with the same values. */
  readonly present: number;
  readonly rejected: number;
}

export interface LoadProgress extends LoadCounts {
  /** Bytes of the file, as it is on disk. */
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface LoadResult extends LoadCounts {
  /** Undefined when no row was rejected. */
  readonly rejectFile: string | undefined;
  readonly seconds: number;
}

interface Pending {
  readonly rows: TradeRow[];
  /** Raw lines, by line: only a batch of them is kept, for rows that turn out to differ from what is there. */
  readonly raw: Map<number, string>;
}

/**
 * @throws MillraceError LOAD_REFUSED: nothing can be made of the file; POSTGRES_UNREACHABLE, POSTGRES_REFUSED. The signal's reason when it is
 *   aborted. What was committed before stays.
 */
export async function loadTrades(options: LoadOptions): Promise<LoadResult> {
  const load = new Load(options);
  return load.run();
}

class Load {
  readonly #options: LoadOptions;
  readonly #rejects: RejectFile;
  readonly #instruments = new Set<string>();
  #read = 0;
  #inserted = 0;
  #present = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#rejects = new RejectFile(options.rejectFile ?? `${options.file}.rejects.csv`);
  }

  async run(): Promise<LoadResult> {
    const start = performance.now();
    const { file, signal, url } = this.#options;
    const totalBytes = await sizeOf(file);
    const source = await readCsv({
      file,
      ...(this.#options.delimiter === undefined ? {} : { delimiter: this.#options.delimiter }),
      ...(signal === undefined ? {} : { signal }),
      onBroken: ({ line, raw, reason }) => {
        this.#read++;
        this.#rejects.add(line, reason, raw);
      },
    });
    await using rejects = this.#rejects;
    const iterator = source.lines[Symbol.asyncIterator]();
    try {
      const first = await iterator.next();
      if (first.done === true) throw new MillraceError('LOAD_REFUSED', `${file} has no line`);
      const { context, headed } = await this.#context(first.value);
      await using client = await connectPostgres({
        url,
        name: 'millrace load',
        ...(signal === undefined ? {} : { signal }),
      });
      try {
        await openStaging(client);
        const rest = headed ? iterator : startingWith(first.value, iterator);
        await this.#batches(client, rest, context, source, totalBytes);
      } catch (cause) {
        throw cause instanceof MillraceError ? cause : databaseError(cause);
      }
    } finally {
      await iterator.return?.(undefined);
    }
    return {
      ...this.#counts(),
      rejectFile: rejects.count > 0 ? rejects.path : undefined,
      seconds: (performance.now() - start) / 1000,
    };
  }

  async #context(first: CsvLine): Promise<{ context: RowContext; headed: boolean }> {
    const { file, signal } = this.#options;
    const format: Format = this.#options.format ?? formats.auto;
    const given: Partial<Record<Field, string>> = {};
    const venue = this.#options.venue ?? format.venue;
    if (venue !== undefined) given.venue = venue;
    if (this.#options.symbol !== undefined) given.symbol = this.#options.symbol;
    const layout = layoutOf(format, first.cells, new Set(Object.keys(given) as Field[]));
    // Only ids that are made here need the hash, and with it a pass over the file.
    const idPrefix = layout.at.trade_id === undefined ? (await contentHash(file, signal)).slice(0, 16) : '';
    return { context: { layout, given, idPrefix }, headed: layout.headed };
  }

  /** Parses the next batch while the database works on the one before. */
  async #batches(
    client: Client,
    lines: AsyncIterator<CsvLine> | AsyncGenerator<CsvLine>,
    context: RowContext,
    source: CsvSource,
    totalBytes: number,
  ): Promise<void> {
    const { signal, onProgress } = this.#options;
    const batchRows = this.#options.batchRows ?? 10_000;
    let pending: Pending = { rows: [], raw: new Map() };
    let writing: Promise<void> = Promise.resolve();
    const flush = async () => {
      await writing;
      signal?.throwIfAborted();
      const batch = pending;
      pending = { rows: [], raw: new Map() };
      writing = this.#write(client, batch).then(() =>
        onProgress?.({ ...this.#counts(), bytes: Math.min(source.bytesRead(), totalBytes), totalBytes }),
      );
      writing.catch(() => {});
    };
    try {
      for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
        this.#parse(next.value, context, pending);
        if (pending.rows.length >= batchRows) await flush();
        await this.#rejects.drained();
      }
      await flush();
    } finally {
      await writing;
    }
  }

  #parse(line: CsvLine, context: RowContext, pending: Pending): void {
    this.#read++;
    try {
      pending.rows.push(parseRow(line.cells, line.line, context));
      pending.raw.set(line.line, line.raw);
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      this.#rejects.add(line.line, error.message, line.raw);
    }
  }

  async #write(client: Client, { rows, raw }: Pending): Promise<void> {
    if (rows.length === 0) return;
    for (const { venue, symbol } of rows) {
      const key = `${venue}\u001f${symbol}`;
      if (this.#instruments.has(key)) continue;
      await addInstrument(client, venue, symbol);
      this.#instruments.add(key);
    }
    const result: BatchResult = await writeBatch(client, rows);
    for (const line of result.different) {
      this.#rejects.add(line, 'a trade of this id is there with other values', raw.get(line) ?? '');
    }
    this.#inserted += result.inserted;
    this.#present += result.present;
  }

  #counts(): LoadCounts {
    return { read: this.#read, inserted: this.#inserted, present: this.#present, rejected: this.#rejects.count };
  }
}

async function* startingWith(first: CsvLine, rest: AsyncIterator<CsvLine>): AsyncGenerator<CsvLine> {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

async function sizeOf(file: string): Promise<number> {
  try {
    const found = await stat(file);
    if (found.isFile()) return found.size;
  } catch (cause) {
    throw new MillraceError('LOAD_REFUSED', `${file} is not there, or may not be read`, {
      cause,
      remedy: 'Check the path.',
    });
  }
  throw new MillraceError('LOAD_REFUSED', `${file} is not a file`, {
    remedy: 'Give the path of a CSV file, plain or gzipped.',
  });
}

function databaseError(cause: unknown): unknown {
  // 57P0x: Postgres is stopping or ends the session; 08xxx: the connection. Neither says anything about the rows.
  const broken = cause instanceof DatabaseError && /^(57P0|08)/.test(cause.code ?? '');
  if (cause instanceof DatabaseError && !broken) {
    const detail = cause.detail === undefined ? '' : ` (${cause.detail})`;
    return new MillraceError('POSTGRES_REFUSED', `Postgres refuses the rows: ${cause.message}${detail}`, {
      cause,
      remedy:
        cause.code === '42P01'
          ? 'Create the tables first: `millrace db migrate`.'
          : 'Correct what the database names and load again; what was committed stays.',
    });
  }
  if (broken || (cause instanceof Error && /connection|ECONN|EPIPE/i.test(cause.message))) {
    return new MillraceError('POSTGRES_UNREACHABLE', `the connection to Postgres broke: ${(cause as Error).message}`, {
      cause,
      remedy: 'Load the file again: it goes on where it stopped.',
    });
  }
  return cause;
}
