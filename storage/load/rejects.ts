/**
 * The reject file: line, reason and raw line of every row that was not loaded. Created with the first rejected row. Counts rows by kind of
 * reason.
 */

import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';

/** Rows that are rejected for one kind of reason. */
export interface RejectKind {
  readonly kind: string;
  count: number;
  /** Line of the first of them. */
  readonly line: number;
  readonly reason: string;
}

/** Limit of distinct kinds; further kinds are counted as one. */
const mostKinds = 50;

export class RejectFile implements AsyncDisposable {
  readonly path: string;
  #stream: WriteStream | undefined;
  #ended: Promise<void> | undefined;
  #count = 0;
  #full = false;
  readonly #kinds = new Map<string, RejectKind>();

  constructor(path: string) {
    this.path = path;
  }

  get count(): number {
    return this.#count;
  }

  /** Kinds, most frequent first. */
  get kinds(): readonly RejectKind[] {
    return [...this.#kinds.values()].sort((a, b) => b.count - a.count);
  }

  /** @param kind the reason without the line's values */
  add(line: number, reason: string, raw: string, kind = reason): void {
    this.#count++;
    this.#note(this.#kinds.size < mostKinds || this.#kinds.has(kind) ? kind : 'other reasons', line, reason);
    if (this.#stream === undefined) {
      this.#stream = createWriteStream(this.path);
      this.#stream.on('error', () => {});
      this.#stream.write('line,reason,raw\n');
    }
    this.#full = !this.#stream.write(`${line},${quoted(reason)},${quoted(raw.replace(/\r?\n$/, ''))}\n`);
  }

  #note(kind: string, line: number, reason: string): void {
    const known = this.#kinds.get(kind);
    if (known === undefined) this.#kinds.set(kind, { kind, count: 1, line, reason });
    else known.count++;
  }

  /** Waits while the disk is slower than the rejects, so that memory stays bounded. @throws errors of the file system */
  async drained(): Promise<void> {
    const stream = this.#stream;
    if (stream?.errored) throw stream.errored;
    if (stream !== undefined && this.#full && stream.writableNeedDrain) await once(stream, 'drain');
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream === undefined) return;
    stream.end();
    await finished(stream);
  }
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}
