import { constants, createZstdCompress, zstdCompressSync } from 'node:zlib';

/** What Node's zlib streams are made of, not their public methods. */
interface Stream {
  readonly _handle?: {
    onerror: (message: string) => void;
    writeSync(
      flush: number,
      from: Uint8Array,
      at: number,
      length: number,
      into: Buffer,
      to: number,
      room: number,
    ): void;
  };
  /** Room left in the output, bytes left of the input: set by each write. */
  readonly _writeState?: Uint32Array;
  readonly _chunkSize?: number;
}

let known: Stream | undefined;

/**
 * The bytes of `zstdCompressSync`, from one context instead of a new one per call, which for the pages of a small file costs several times as much
 * as compressing them. A Node whose streams are made otherwise gets the public function.
 */
export function zstd(bytes: Uint8Array): Uint8Array {
  known ??= createZstdCompress() as unknown as Stream;
  const { _handle: handle, _writeState: state, _chunkSize: room } = known;
  if (typeof handle?.writeSync !== 'function' || state === undefined || room === undefined)
    return zstdCompressSync(bytes);
  let failure: string | undefined;
  handle.onerror = (message) => {
    failure = message;
  };
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    // As much at a time as the public function has: less or more room could give other bytes.
    const part = Buffer.allocUnsafe(room);
    handle.writeSync(constants.ZSTD_e_end, bytes, at, bytes.length - at, part, 0, room);
    if (failure !== undefined) {
      // It stands in the middle of a frame.
      known = undefined;
      throw new Error(`zstd: ${failure}`);
    }
    const left = state[0] ?? 0;
    at = bytes.length - (state[1] ?? 0);
    parts.push(part.subarray(0, room - left));
    if (left > 0) return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }
}
