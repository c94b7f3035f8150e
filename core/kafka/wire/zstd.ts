import { constants, createZstdDecompress, zstdDecompressSync } from 'node:zlib';

/**
 * Decompresses many small frames fast. `zstdDecompressSync` makes a new context, a stream object and a buffer for each call, which for
 * batches of some twenty records costs several times as much as decompressing them; here one context is kept and fed directly.
 *
 * It uses what Node's zlib streams are made of, not their public methods: a Node where that has changed gets the public function.
 */
interface Handle {
  onerror: (message: string, errno: number, code: string) => void;
  writeSync(
    flush: number,
    from: Buffer,
    fromAt: number,
    fromLength: number,
    into: Buffer,
    intoAt: number,
    intoLength: number,
  ): void;
}

interface Context {
  readonly handle: Handle;
  /** Room left in the output, bytes left of the input: set by each write. */
  readonly state: Uint32Array;
}

const smallestSlab = 64 * 1024;
const largestSlab = 1024 * 1024;

/** Makes a context, or tells that this Node has none. */
function openContext(): Context | undefined {
  const stream = createZstdDecompress() as unknown as { _handle?: Partial<Handle>; _writeState?: Uint32Array };
  const { _handle: handle, _writeState: state } = stream;
  if (typeof handle?.writeSync !== 'function' || !ArrayBuffer.isView(state)) return undefined;
  return { handle: handle as Handle, state };
}

let known: Context | undefined;

/**
 * Decompresses the frames of one fetch, one after the other, into memory that they share: keeping one result keeps that of its
 * neighbours.
 */
export class ZstdReader {
  readonly #limit: number;
  #slab: Buffer | undefined;
  #used = 0;
  #expected: number;

  /**
   * @param compressedBytes of all frames to come, roughly; only the first allocation depends on it.
   * @param limit bytes that one frame may expand to.
   */
  constructor(compressedBytes: number, limit: number) {
    this.#limit = limit;
    this.#expected = compressedBytes * 4;
  }

  /** @throws Error for a frame that is cut off, invalid, or expands to more than the limit. */
  read(frame: Buffer): Buffer {
    known ??= openContext();
    const context = known;
    if (context === undefined) return zstdDecompressSync(frame, { maxOutputLength: this.#limit });
    const { handle, state } = context;
    let failure: Error | undefined;
    handle.onerror = (message) => {
      failure = new Error(message);
    };
    let slab = this.#room(frame.length);
    let start = this.#used;
    let end = start;
    let inputAt = 0;
    for (;;) {
      const room = slab.length - end;
      handle.writeSync(constants.ZSTD_e_end, frame, inputAt, frame.length - inputAt, slab, end, room);
      const left = state[0] ?? 0;
      end += room - left;
      inputAt = frame.length - (state[1] ?? 0);
      if (failure === undefined && end - start > this.#limit) {
        failure = new Error(`it expands to more than ${this.#limit} bytes`);
      }
      if (failure !== undefined) {
        // It stands in the middle of a frame: the next one would be read as a part of it.
        known = undefined;
        throw failure;
      }
      if (left > 0) break;
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * (end - start), smallestSlab));
      slab.copy(larger, 0, start, end);
      slab = larger;
      [start, end] = [0, end - start];
      this.#slab = slab;
    }
    this.#used = end;
    return slab.subarray(start, end);
  }

  /** Memory with room for what such a frame usually expands to. */
  #room(compressed: number): Buffer {
    if (this.#slab !== undefined && this.#slab.length - this.#used > compressed * 2) return this.#slab;
    const size = Math.min(
      Math.max(this.#expected, smallestSlab, compressed * 4),
      Math.max(largestSlab, compressed * 4),
    );
    this.#expected = Math.max(0, this.#expected - size);
    this.#slab = Buffer.allocUnsafeSlow(size);
    this.#used = 0;
    return this.#slab;
  }
}
