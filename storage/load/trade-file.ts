/** A file of trades: its layout, and its rows, which can be read repeatedly. */
import { MillraceError } from '../../core/base/errors.ts';
import { type FileState, stateOf } from './file/open.ts';
import { readCsv } from './file/reader.ts';
import type { FileRow } from './order/sort.ts';
import type { RejectFile } from './rejects.ts';
import { type Field, type Format, type FormatName, formats } from './rows/formats.ts';
import { type Layout, layoutOf } from './rows/layout.ts';
import { parseRow, RowError } from './rows/row.ts';

export interface TradeFileOptions {
  readonly file: string;
  /** Format. Default `auto`: detected from the header, else from the column names. */
  readonly format?: FormatName;
  /** Venue of all rows. */
  readonly venue?: string;
  /** Symbol of all rows. */
  readonly symbol?: string;
  /** Party whose side the file has. Default: by format and column, else the taker. */
  readonly side?: 'maker' | 'taker';
  /** Default `,`. */
  readonly delimiter?: string;
  readonly signal?: AbortSignal;
}

export interface Pass {
  /** Receives the invalid lines. Default: they are skipped. */
  readonly rejects?: RejectFile;
  /** Called from time to time with the bytes read from disk so far. */
  readonly onBytes?: (bytes: number) => void;
}

/** Rows between two calls of `onBytes`. */
const reportRows = 5_000;

export class TradeFile {
  readonly layout: Layout;
  /** Values for the whole file. */
  readonly given: Readonly<Partial<Record<Field, string>>>;
  readonly bytes: number;
  readonly #options: TradeFileOptions;
  readonly #state: FileState;

  private constructor(options: TradeFileOptions, state: FileState, layout: Layout) {
    this.#options = options;
    this.#state = state;
    this.layout = layout;
    this.bytes = state.bytes;
    const format: Format = formats[layout.format];
    const venue = layout.at.venue === undefined ? (options.venue ?? format.venue) : undefined;
    this.given = {
      ...(venue === undefined ? {} : { venue }),
      ...(options.symbol === undefined ? {} : { symbol: options.symbol }),
    };
  }

  /** Reads the first line. @throws MillraceError LOAD_REFUSED */
  static async open(options: TradeFileOptions): Promise<TradeFile> {
    const state = await stateOf(options.file);
    const { lines } = await readCsv({ ...options, onBroken: () => {} });
    try {
      const first = await lines.next();
      if (first.done === true) throw new MillraceError('LOAD_REFUSED', `${options.file} has no line`);
      const { format, venue, symbol, side } = options;
      const layout = layoutOf(first.value.cells, {
        given: { ...(venue === undefined ? {} : { venue }), ...(symbol === undefined ? {} : { symbol }) },
        ...(format === undefined ? {} : { format }),
        ...(side === undefined ? {} : { side }),
      });
      return new TradeFile(options, state, layout);
    } finally {
      await lines.return(undefined);
    }
  }

  /** @throws MillraceError LOAD_REFUSED, also while iterating: the file cannot be read, or has changed since it was opened. */
  async *rows({ rejects, onBytes }: Pass = {}): AsyncGenerator<FileRow> {
    const { file } = this.#options;
    const { bytes, changedMs } = await stateOf(file);
    if (bytes !== this.#state.bytes || changedMs !== this.#state.changedMs) {
      throw new MillraceError('LOAD_REFUSED', `${file} was changed while it was read`, {
        remedy: 'Load a copy, or wait until the file is complete.',
      });
    }
    const source = await readCsv({
      ...this.#options,
      onBroken: ({ line, raw, reason }) => rejects?.add(line, reason, raw, 'no CSV'),
    });
    let header = this.layout.headed;
    let read = 0;
    for await (const { cells, line, raw } of source.lines) {
      if (++read % reportRows === 0) onBytes?.(source.bytesRead());
      if (header) {
        header = false;
        continue;
      }
      try {
        yield { row: parseRow(cells, line, this), raw };
      } catch (error) {
        if (!(error instanceof RowError)) throw error;
        rejects?.add(line, error.message, raw, error.kind);
        await rejects?.drained();
      }
    }
    onBytes?.(bytes);
  }
}
