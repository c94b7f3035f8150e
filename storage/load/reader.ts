/** A CSV file, plain or gzipped, as lines of cells with their numbers; memory is bounded by a few buffers of the file. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';
import { MillraceError } from '../../core/errors.ts';

export interface CsvLine {
  readonly cells: readonly string[];
  /** Number of the line in the file, from 1; of the last one when a quoted cell spans several. */
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

const MAX_RECORD = 1 << 20;

/** @throws MillraceError LOAD_REFUSED, also while iterating: not readable, or broken gzip. */
export async function readCsv(options: ReadOptions): Promise<CsvSource> {
  const { stream, bytesRead } = await openPlain(options.file, options.signal);
  const parser = parse({
    bom: true,
    delimiter: options.delimiter ?? ',',
    info: true,
    raw: true,
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: MAX_RECORD,
    on_skip: (error, raw) => {
      options.onBroken({ line: Number(error?.['lines'] ?? 0), raw: raw ?? '', reason: error?.message ?? 'no CSV' });
      return undefined;
    },
  });
  const flow = pipeline(stream, parser, options.signal === undefined ? {} : { signal: options.signal });
  return { bytesRead, lines: lines(parser, flow, options) };
}

interface Parsed {
  readonly record: string[];
  readonly raw: string;
  readonly info: { readonly lines: number };
}

async function* lines(parser: AsyncIterable<Parsed>, flow: Promise<void>, options: ReadOptions): AsyncGenerator<CsvLine> {
  flow.catch(() => {});
  try {
    for await (const { record, raw, info } of parser) yield { cells: record, line: info.lines, raw };
    await flow;
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw unreadable(options.file, cause);
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
    remedy: 'Check the path, its permissions, and that a gzip file is whole; what was loaded stays, and a second load adds only the rest.',
  });
}
