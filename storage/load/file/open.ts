/** Opens a text file, unpacks it, and detects packing, encoding or binary content from its first bytes. */
import { createReadStream, type ReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, type Gunzip } from 'node:zlib';
import { MillraceError } from '../../../core/base/errors.ts';

export interface OpenFile {
  /** Unpacked content. */
  readonly stream: Readable;
  /** Bytes read from disk so far. */
  readonly bytesRead: () => number;
  /** Bytes of the packed file unpacked so far; undefined for a plain file. */
  readonly unpacked: (() => number) | undefined;
}

/** @throws MillraceError LOAD_REFUSED: the file is missing, or packed in an unsupported way. */
export async function openFile(file: string, signal?: AbortSignal): Promise<OpenFile> {
  const head = await headOf(file);
  refusePacked(file, head);
  const raw = createReadStream(file, { highWaterMark: 1 << 18, ...(signal === undefined ? {} : { signal }) });
  const bytesRead = () => raw.bytesRead;
  if (!startsWith(head, gzipMagic)) return { stream: raw, bytesRead, unpacked: undefined };
  return { ...unpacked(raw), bytesRead };
}

function unpacked(raw: ReadStream): Pick<OpenFile, 'stream' | 'unpacked'> {
  const gunzip: Gunzip = createGunzip();
  const out = new Transform({ transform: (chunk, _encoding, done) => done(null, chunk) });
  pipeline(raw, gunzip, out).catch((error) => out.destroy(error));
  return { stream: out, unpacked: () => gunzip.bytesWritten };
}

export interface FileState {
  readonly bytes: number;
  readonly changedMs: number;
}

/** @throws MillraceError LOAD_REFUSED: the path is missing, or not a file. */
export async function stateOf(file: string): Promise<FileState> {
  try {
    const found = await stat(file);
    if (found.isFile()) return { bytes: found.size, changedMs: found.mtimeMs };
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

const gzipMagic = [0x1f, 0x8b];

const packed: readonly { readonly magic: readonly number[]; readonly name: string; readonly remedy: string }[] = [
  { magic: [0x50, 0x4b, 3, 4], name: 'a zip archive', remedy: 'Unzip it: `unzip -p FILE > FILE.csv`.' },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], name: 'packed with zstd', remedy: 'Unpack it: `zstd -d FILE`.' },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], name: 'packed with xz', remedy: 'Unpack it: `xz -d FILE`.' },
  { magic: [0x42, 0x5a, 0x68], name: 'packed with bzip2', remedy: 'Unpack it: `bzip2 -d FILE`.' },
  { magic: [0x37, 0x7a, 0xbc, 0xaf], name: 'a 7z archive', remedy: 'Unpack it: `7z x FILE`.' },
  {
    magic: [0x50, 0x41, 0x52, 0x31],
    name: 'a Parquet file',
    remedy: "Write it as CSV: `duckdb -c \"COPY 'FILE' TO 'FILE.csv'\"`.",
  },
];

/** @throws MillraceError LOAD_REFUSED: the first bytes belong to another kind of file. */
export function refusePacked(file: string, head: Uint8Array): void {
  const kind = packed.find(({ magic }) => startsWith(head, magic));
  if (kind === undefined) return;
  throw new MillraceError('LOAD_REFUSED', `${file} is ${kind.name}`, {
    remedy: kind.remedy.replaceAll('FILE', file),
  });
}

export type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be';

/**
 * Encoding by the byte order mark; UTF-8 without one.
 *
 * @param head first bytes of the unpacked text.
 * @throws MillraceError LOAD_REFUSED: the first line has a NUL, so it is UTF-16 without a mark, or not text.
 */
export function encodingOf(file: string, head: Uint8Array): Encoding {
  if (startsWith(head, [0xff, 0xfe])) return 'utf-16le';
  if (startsWith(head, [0xfe, 0xff])) return 'utf-16be';
  const end = head.indexOf(10);
  const nul = head.subarray(0, end < 0 ? 1024 : Math.min(end, 1024)).indexOf(0);
  if (nul < 0) return 'utf-8';
  if (nul > 1)
    throw new MillraceError('LOAD_REFUSED', `${file} is no text: its first line has a NUL`, {
      remedy: 'Give a CSV file.',
    });
  const name = nul === 1 ? 'UTF-16LE' : 'UTF-16BE';
  throw new MillraceError('LOAD_REFUSED', `${file} looks like ${name} without a byte order mark`, {
    remedy: `Convert it: \`iconv -f ${name} -t UTF-8 ${file} > ${file}.utf8\`.`,
  });
}

async function headOf(file: string): Promise<Uint8Array> {
  try {
    await using handle = await open(file, 'r');
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(8), 0, 8, 0);
    return buffer.subarray(0, bytesRead);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MillraceError('LOAD_REFUSED', `${file} cannot be read: ${reason}`, {
      cause,
      remedy: 'Check the path and its permissions.',
    });
  }
}

function startsWith(head: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, at) => head[at] === byte);
}
