/** The reject file: line, reason and the raw line of every row that was not loaded. Made only when there is one. */

import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';

export class RejectFile implements AsyncDisposable {
  readonly path: string;
  #stream: WriteStream | undefined;
  #ended: Promise<void> | undefined;
  #count = 0;
  #full = false;

  constructor(path: string) {
    this.path = path;
  }

  get count(): number {
    return this.#count;
  }

  add(line: number, reason: string, raw: string): void {
    this.#count++;
    if (this.#stream === undefined) {
      this.#stream = createWriteStream(this.path);
      this.#stream.on('error', () => {});
      this.#stream.write('line,reason,raw\n');
    }
    this.#full = !this.#stream.write(`${line},${quoted(reason)},${quoted(raw.replace(/\r?\n$/, ''))}\n`);
  }

  /** Waits while the disk is slower than the rejects, so that they do not pile up in memory. @throws what the file system says. */
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
