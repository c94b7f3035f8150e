/** A CSV file, plain or gzipped, as lines of cells with their numbers; memory is bounded by a few buffers of the file. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import { MillraceError } from '../../core/errors.ts';

export interface CsvLine {
  readonly cells: readonly string[];
  /** Number of the line in the file, from 1. */
  readonly line: number;
  readonly raw: string;
}

/** A line that is no CSV. */
export interface BrokenLine {
  readonly line: number;
  readonly raw: string;
  readonly reason: string;
}

export interface CsvSource {
  readonly lines: AsyncIterable<CsvLine>;
  /** Bytes of the file read so far, as it is on disk. */
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
 * A cell never spans lines here: one stray quote must cost one line, not the rest of the file. Empty lines are passed over.
 *
 * @throws MillraceError LOAD_REFUSED, also while iterating: not readable, broken gzip, or no lines.
 */
export async function readCsv(options: ReadOptions): Promise<CsvSource> {
  const { stream, bytesRead } = await openPlain(options.file, options.signal);
  return { bytesRead, lines: lines(stream, options) };
}

async function* lines(stream: Readable, options: ReadOptions): AsyncGenerator<CsvLine> {
  const { file, delimiter = ',' } = options;
  let line = 0;
  try {
    for await (const raw of rawLines(stream, file)) {
      line++;
      if (raw.trim() === '') continue;
      const cells = cellsOf(raw, delimiter);
      if (cells instanceof Error) options.onBroken({ line, raw, reason: cells.message });
      else yield { cells, line, raw };
    }
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw unreadable(file, cause);
  } finally {
    stream.destroy();
  }
}

async function* rawLines(stream: Readable, file: string): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  let first = true;
  for await (const chunk of stream) {
    let text = rest + decoder.write(chunk as Buffer);
    if (first) text = text.replace(/^\ufeff/, '');
    first = false;
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      yield text.slice(from, text.charCodeAt(end - 1) === 13 ? end - 1 : end);
      from = end + 1;
    }
    rest = text.slice(from);
    if (rest.length > MAX_LINE)
      throw new MillraceError('LOAD_REFUSED', `${file} has a line longer than ${MAX_LINE} characters`);
  }
  rest += decoder.end();
  if (rest !== '') yield rest.endsWith('\r') ? rest.slice(0, -1) : rest;
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

/** SHA-256 of the content, unpacked, so that a file and its gzip give the same trade ids. */
export async function contentHash(file: string, signal?: AbortSignal): Promise<string> {
  const { stream } = await openPlain(file, signal);
  const hash = createHash('sha256');
  try {
    for await (const chunk of stream) hash.update(chunk as Buffer);
  } catch (cause) {
    signal?.throwIfAborted();
    throw unreadable(file, cause);
  }
  return hash.digest('hex');
}

async function openPlain(file: string, signal?: AbortSignal): Promise<{ stream: Readable; bytesRead: () => number }> {
  const gzip = await isGzip(file);
  const raw = createReadStream(file, { highWaterMark: 1 << 18, ...(signal === undefined ? {} : { signal }) });
  const bytesRead = () => raw.bytesRead;
  if (!gzip) return { stream: raw, bytesRead };
  const gunzip = createGunzip();
  const out = new Transform({ transform: (chunk, _encoding, done) => done(null, chunk) });
  pipeline(raw, gunzip, out).catch((error) => out.destroy(error));
  return { stream: out, bytesRead };
}

async function isGzip(file: string): Promise<boolean> {
  try {
    await using handle = await open(file, 'r');
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function unreadable(file: string, cause: unknown): MillraceError {
  if (cause instanceof MillraceError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new MillraceError('LOAD_REFUSED', `${file} cannot be read: ${reason}`, {
    cause,
    remedy:
      'Check the path, its permissions, and that a gzip file is whole; what was loaded stays, and a second load adds only the rest.',
  });
}
