/** A CSV file, plain or gzipped, as numbered lines of cells. Memory is bounded by a few buffers of the file. */
import type { Readable } from 'node:stream';
import { parse } from 'csv-parse/sync';
import { MillraceError } from '../../../core/base/errors.ts';
import { encodingOf, type OpenFile, openFile, refusePacked } from './open.ts';

export interface CsvLine {
  readonly cells: readonly string[];
  /** Line number in the file, from 1. */
  readonly line: number;
  readonly raw: string;
}

/** A line that is not valid CSV. */
export interface BrokenLine {
  readonly line: number;
  readonly raw: string;
  readonly reason: string;
}

export interface CsvSource {
  readonly lines: AsyncGenerator<CsvLine>;
  /** Bytes read from disk so far. */
  readonly bytesRead: () => number;
}

export interface ReadOptions {
  readonly file: string;
  /** Default `,`. */
  readonly delimiter?: string;
  readonly onBroken: (line: BrokenLine) => void;
  readonly signal?: AbortSignal;
}

const MAX_LINE = 1 << 20;

/**
 * Reads a CSV file. Lines end with LF, CR LF, or all with CR. A cell never spans lines: one stray quote must cost one line, not the rest of
 * the file. Empty lines are skipped. UTF-8, or UTF-16 with a byte order mark.
 *
 * @throws MillraceError LOAD_REFUSED, also while iterating: not readable, not text, an unsupported packing, or broken gzip.
 */
export async function readCsv(options: ReadOptions): Promise<CsvSource> {
  const opened = await openFile(options.file, options.signal);
  return { bytesRead: opened.bytesRead, lines: lines(opened, options) };
}

async function* lines(opened: OpenFile, options: ReadOptions): AsyncGenerator<CsvLine> {
  const { file, delimiter = ',' } = options;
  let line = 0;
  try {
    for await (const raw of rawLines(opened.stream, file)) {
      line++;
      if (raw.trim() === '') continue;
      const cells = cellsOf(raw, delimiter);
      if (cells instanceof Error) options.onBroken({ line, raw, reason: cells.message });
      else yield { cells, line, raw };
    }
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw unreadable(file, cause, line, opened);
  } finally {
    opened.stream.destroy();
  }
}

async function* rawLines(stream: Readable, file: string): AsyncGenerator<string> {
  let decoder: InstanceType<typeof TextDecoder> | undefined;
  let rest = '';
  let end: '\n' | '\r' | undefined;
  for await (const chunk of stream) {
    const bytes = chunk as Buffer;
    if (decoder === undefined) {
      refusePacked(file, bytes);
      decoder = new TextDecoder(encodingOf(file, bytes));
    }
    const text = rest + decoder.decode(bytes, { stream: true });
    end ??= lineEnd(text);
    let from = 0;
    if (end !== undefined) {
      for (let at = text.indexOf(end); at >= 0; at = text.indexOf(end, from)) {
        yield text.slice(from, text.charCodeAt(at - 1) === 13 ? at - 1 : at);
        from = at + 1;
      }
    }
    rest = text.slice(from);
    if (rest.length > MAX_LINE)
      throw new MillraceError('LOAD_REFUSED', `${file} has a line longer than ${MAX_LINE} characters`);
  }
  rest += decoder?.decode() ?? '';
  if (rest !== '') yield* rest.replace(/\r$/, '').split(end ?? '\r');
}

/** Line end of the first line; undefined until it has been read. */
function lineEnd(text: string): '\n' | '\r' | undefined {
  const found = /\r?\n|\r(?=[^\n])/.exec(text)?.[0];
  return found === undefined ? undefined : found === '\r' ? '\r' : '\n';
}

function cellsOf(raw: string, delimiter: string): readonly string[] | Error {
  if (!raw.includes('"')) return raw.split(delimiter);
  try {
    const records = parse(raw, { delimiter, relax_column_count: true }) as string[][];
    return records[0] ?? [];
  } catch (error) {
    return error as Error;
  }
}

function unreadable(file: string, cause: unknown, line: number, { unpacked }: OpenFile): MillraceError {
  if (cause instanceof MillraceError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (unpacked === undefined) {
    return new MillraceError('LOAD_REFUSED', `${file} cannot be read after line ${line}: ${reason}`, {
      cause,
      remedy: 'Check the disk and the permissions.',
    });
  }
  return new MillraceError(
    'LOAD_REFUSED',
    `the gzip file ${file} is damaged or cut short at byte ${unpacked()}, after line ${line}: ${reason}`,
    { cause, remedy: 'Get the file again; `gzip -t` tests it.' },
  );
}
