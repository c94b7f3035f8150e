/**
 * Loads a file of trades into Postgres: one pass that only checks, then the load. A second load adds nothing. If interrupted, run the load
 * again.
 */
import { type Client, DatabaseError } from 'pg';
import { MillraceError } from '../../core/base/errors.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import { addInstrument, type BatchResult, openStaging, writeBatch } from './batch.ts';
import { type Findings, findingsOf, refuseDisorder, refuseLate, refuseRejects } from './findings.ts';
import { type LateTrades, lateTrades, newestInPostgres } from './order/late.ts';
import { Numbering } from './order/numbering.ts';
import { type FileRow, Sorter } from './order/sort.ts';
import { mostSymbols, Survey, type SymbolName, symbolId } from './order/survey.ts';
import { RejectFile } from './rejects.ts';
import type { TradeRow } from './rows/row.ts';
import { TradeFile, type TradeFileOptions } from './trade-file.ts';

export interface LoadOptions extends TradeFileOptions {
  /** Connection string; the role needs the right to insert into trades and instruments. */
  readonly url: string;
  /** Rows per transaction. Default 10,000. */
  readonly batchRows?: number;
  /** Path of the reject file. Default: beside the file, `<file>.rejects.csv`. */
  readonly rejectFile?: string;
  /** Greatest number of rejected rows; with more, nothing is loaded. Default 0. */
  readonly maxRejects?: number;
  /** `ohlcv.watermarkDelayMs`, milliseconds: rows older than a newer one of their symbol by more than this are late. Default 5000. */
  readonly watermarkDelayMs?: number;
  /** Sort rows by time before the load. Default false. */
  readonly sort?: boolean;
  /** Load rows that will be late for candles. Default false: the load is refused before anything is loaded. */
  readonly allowLate?: boolean;
  /**
   * Event times up to which candles are frozen, milliseconds since 1970, by `symbolId`; undefined when unknown. Called for symbols with
   * trades in Postgres. Default: not called.
   */
  readonly frozen?: (symbols: readonly SymbolName[]) => Promise<ReadonlyMap<string, number> | undefined>;
  /** Only check: load nothing. Default false. */
  readonly check?: boolean;
  /** Called once, before anything is loaded or the findings refuse the load. */
  readonly onFindings?: (findings: Findings) => void;
  /** Called from time to time, and after every transaction. */
  readonly onProgress?: (progress: LoadProgress) => void;
}

export interface LoadCounts {
  /** Lines read, without the header. */
  readonly read: number;
  readonly inserted: number;
  /** Rows already present with the same values. */
  readonly present: number;
  readonly rejected: number;
}

export interface LoadProgress extends LoadCounts {
  readonly phase: 'checking' | 'sorting' | 'comparing' | 'loading';
  /** Bytes read from disk in this phase. */
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface LoadResult extends LoadCounts {
  /** Undefined when no row was rejected. */
  readonly rejectFile: string | undefined;
  readonly seconds: number;
  readonly findings: Findings;
}

interface Pending {
  readonly rows: TradeRow[];
  /** Raw lines by line number. Only one batch is kept, for rows that differ from the present ones. */
  readonly raw: Map<number, string>;
}

interface NumberedRow {
  readonly row: TradeRow;
  readonly raw: string;
}

/**
 * Loads the file. More rejected rows than `maxRejects` refuse it before anything is loaded. A row whose id is present with other values is
 * found only during the load. It counts as rejected in the result, and the caller decides.
 *
 * @throws MillraceError LOAD_REFUSED: the file is unusable, too many rows are rejected, or trades would be late.
 * @throws MillraceError POSTGRES_UNREACHABLE, POSTGRES_REFUSED
 * @throws the signal's reason when it is aborted. Committed batches stay.
 */
export async function loadTrades(options: LoadOptions): Promise<LoadResult> {
  const file = await TradeFile.open(options);
  return new Load(options, file).run();
}

class Load {
  readonly #options: LoadOptions;
  readonly #file: TradeFile;
  readonly #watermarkDelayMs: number;
  readonly #survey: Survey;
  readonly #rejects: RejectFile;
  readonly #instruments = new Set<string>();
  #phase: LoadProgress['phase'] = 'checking';
  #sorter: Sorter | undefined;
  #read = 0;
  #inserted = 0;
  #present = 0;

  constructor(options: LoadOptions, file: TradeFile) {
    this.#options = options;
    this.#file = file;
    this.#watermarkDelayMs = options.watermarkDelayMs ?? 5_000;
    this.#survey = new Survey(this.#watermarkDelayMs);
    this.#rejects = new RejectFile(options.rejectFile ?? `${options.file}.rejects.csv`);
  }

  async run(): Promise<LoadResult> {
    const start = performance.now();
    const { maxRejects = 0, allowLate = false, check = false, sort = false } = this.#options;
    await using rejects = this.#rejects;
    await this.#look();
    const unordered = this.#survey.late > 0 && !sort;
    const refusable = rejects.count > maxRejects || (unordered && (!allowLate || this.#madeIds));
    await using sorter = new Sorter({ reverse: this.#survey.newestFirst });
    if (sort && !refusable && this.#survey.back > 0) await this.#sort(sorter);
    await using client = refusable ? undefined : await this.#connect();
    const late = client === undefined ? undefined : await this.#guarded(() => this.#late(client));
    const findings = findingsOf({
      file: this.#file,
      survey: this.#survey,
      rejects,
      late,
      sorted: this.#sorter !== undefined,
    });
    this.#options.onFindings?.(findings);
    refuseRejects(findings, maxRejects);
    refuseDisorder(findings, { sort, allowLate, watermarkDelayMs: this.#watermarkDelayMs });
    if (!allowLate) refuseLate(findings, this.#watermarkDelayMs);
    if (client !== undefined && !check) await this.#guarded(() => this.#load(client));
    return {
      ...this.#counts(),
      read: this.#survey.rows + findings.rejected,
      rejectFile: rejects.count > 0 ? rejects.path : undefined,
      seconds: (performance.now() - start) / 1000,
      findings,
    };
  }

  get #madeIds(): boolean {
    return this.#file.layout.at.trade_id === undefined;
  }

  /** The first pass: only counts. */
  async #look(): Promise<void> {
    for await (const { row } of this.#file.rows({
      rejects: this.#rejects,
      onBytes: (bytes) => this.#progress(bytes),
    })) {
      this.#read++;
      if (this.#survey.add(row)) continue;
      throw new MillraceError('LOAD_REFUSED', `the file has more than ${mostSymbols} symbols`, {
        remedy: 'Split it by symbol.',
      });
    }
  }

  async #sort(sorter: Sorter): Promise<void> {
    this.#begin('sorting');
    for await (const row of this.#file.rows({ onBytes: (bytes) => this.#progress(bytes) })) {
      this.#read++;
      await sorter.add(row);
    }
    this.#sorter = sorter;
  }

  /** Connects to Postgres. @returns undefined for a check, which works without Postgres */
  async #connect() {
    const { url, signal, check } = this.#options;
    try {
      return await connectPostgres({ url, name: 'millrace load', ...(signal === undefined ? {} : { signal }) });
    } catch (error) {
      if (check === true && error instanceof MillraceError && error.code === 'POSTGRES_UNREACHABLE') return undefined;
      throw error;
    }
  }

  /** Late trades: older than the newest one by more than the watermark delay, or within frozen candles. */
  async #late(client: Client): Promise<readonly LateTrades[]> {
    const symbols = [...this.#survey.symbols.values()];
    const newest = await newestInPostgres(client, symbols);
    const known = symbols.filter((each) => newest.has(symbolId(each)));
    const frozen = known.length === 0 ? undefined : await this.#options.frozen?.(known);
    const limits = new Map<string, number>();
    for (const each of known) {
      const id = symbolId(each);
      const limit = Math.max(
        (newest.get(id) ?? 0) - this.#watermarkDelayMs,
        frozen?.get(id) ?? Number.NEGATIVE_INFINITY,
      );
      if (each.earliest < limit) limits.set(id, limit);
    }
    if (limits.size === 0) return [];
    this.#begin('comparing');
    return lateTrades(client, onlyRows(this.#rows()), limits);
  }

  /** All rows with their ids, in loading order. */
  async *#rows(): AsyncGenerator<NumberedRow> {
    const { layout } = this.#file;
    const numbering = new Numbering(this.#watermarkDelayMs, layout.at.venue_sequence !== undefined);
    for await (const { row, raw } of this.#inOrder()) {
      this.#options.signal?.throwIfAborted();
      this.#read++;
      yield { row: numbering.number(row), raw };
    }
  }

  #inOrder(): AsyncIterable<FileRow> {
    if (this.#sorter !== undefined) return this.#sorter.sorted();
    return this.#file.rows({
      onBytes: (bytes) => {
        if (this.#phase !== 'loading') this.#progress(bytes);
      },
    });
  }

  /** Prepares the next batch while the database writes the last one. */
  async #load(client: Client): Promise<void> {
    this.#begin('loading');
    await openStaging(client);
    const batchRows = this.#options.batchRows ?? 10_000;
    let pending: Pending = { rows: [], raw: new Map() };
    let writing: Promise<void> = Promise.resolve();
    const flush = async () => {
      await writing;
      this.#options.signal?.throwIfAborted();
      const batch = pending;
      pending = { rows: [], raw: new Map() };
      const share = this.#read / Math.max(1, this.#survey.rows);
      writing = this.#write(client, batch).then(() => this.#progress(Math.round(this.#file.bytes * share)));
      writing.catch(() => {});
    };
    try {
      for await (const { row, raw } of this.#rows()) {
        pending.rows.push(row);
        pending.raw.set(row.line, raw);
        if (pending.rows.length >= batchRows) await flush();
      }
      await flush();
    } finally {
      await writing;
    }
  }

  async #write(client: Client, { rows, raw }: Pending): Promise<void> {
    if (rows.length === 0) return;
    for (const row of rows) {
      const key = symbolId(row);
      if (this.#instruments.has(key)) continue;
      await addInstrument(client, row.venue, row.symbol);
      this.#instruments.add(key);
    }
    const result: BatchResult = await writeBatch(client, rows);
    for (const line of result.different) {
      this.#rejects.add(line, 'a trade of this id is there with other values', raw.get(line) ?? '');
    }
    await this.#rejects.drained();
    this.#inserted += result.inserted;
    this.#present += result.present;
  }

  #begin(phase: LoadProgress['phase']): void {
    this.#phase = phase;
    this.#read = 0;
  }

  #progress(bytes: number): void {
    const totalBytes = this.#file.bytes;
    this.#options.onProgress?.({
      ...this.#counts(),
      phase: this.#phase,
      bytes: Math.min(bytes, totalBytes),
      totalBytes,
    });
  }

  #counts(): LoadCounts {
    return { read: this.#read, inserted: this.#inserted, present: this.#present, rejected: this.#rejects.count };
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      throw cause instanceof MillraceError ? cause : databaseError(cause);
    }
  }
}

async function* onlyRows(rows: AsyncIterable<NumberedRow>): AsyncGenerator<TradeRow> {
  for await (const { row } of rows) yield row;
}

function databaseError(cause: unknown): unknown {
  // 57P0x: Postgres stops or ends the session; 08xxx: the connection failed. Neither is caused by the rows.
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
