/** Rows in the order of their times: an external merge sort over runs on disk. Memory is bounded by one run, and a buffer per run when they are merged. */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ParsedRow } from '../row.ts';

/** A row with its line as the file has it. */
export interface FileRow {
  readonly row: ParsedRow;
  readonly raw: string;
}

export interface SortOptions {
  /** Rows of one time in the reverse order of their lines. Default false. */
  readonly reverse?: boolean;
  /** Rows per run. Default 100,000. */
  readonly runRows?: number;
  /** Where runs are kept. Default: the folder of temporary files. */
  readonly dir?: string;
}

type Order = (a: FileRow, b: FileRow) => number;

/** Holds its runs until it is disposed of; they may be read more than once. */
export class Sorter implements AsyncDisposable {
  readonly #options: SortOptions;
  readonly #order: Order;
  readonly #runs: string[] = [];
  #dir: string | undefined;
  #rows: FileRow[] = [];

  constructor(options: SortOptions = {}) {
    this.#options = options;
    const sign = options.reverse === true ? -1 : 1;
    // Times are texts of one width.
    this.#order = ({ row: a }, { row: b }) =>
      a.executedAt < b.executedAt ? -1 : a.executedAt > b.executedAt ? 1 : sign * (a.line - b.line);
  }

  async add(row: FileRow): Promise<void> {
    this.#rows.push(row);
    if (this.#rows.length >= (this.#options.runRows ?? 100_000)) await this.#spill();
  }

  async #spill(): Promise<void> {
    this.#dir ??= await mkdtemp(join(this.#options.dir ?? tmpdir(), 'millrace-sort-'));
    const rows = this.#rows.sort(this.#order);
    this.#rows = [];
    const file = join(this.#dir, String(this.#runs.length));
    this.#runs.push(file);
    await pipeline(Readable.from(texts(rows)), createWriteStream(file));
  }

  async *sorted(): AsyncGenerator<FileRow> {
    const runs: AsyncIterator<FileRow>[] = this.#runs.map((file) => readRun(file));
    this.#rows.sort(this.#order);
    runs.push(Readable.from(this.#rows)[Symbol.asyncIterator]() as AsyncIterator<FileRow>);
    try {
      yield* merge(runs, this.#order);
    } finally {
      await Promise.all(runs.map((run) => run.return?.()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#rows = [];
    if (this.#dir !== undefined) await rm(this.#dir, { recursive: true, force: true });
  }
}

function* texts(rows: readonly FileRow[]): Generator<string> {
  for (let from = 0; from < rows.length; from += 500) {
    let text = '';
    for (const row of rows.slice(from, from + 500)) text += `${JSON.stringify(row)}\n`;
    // readline ends lines there, too, and JSON leaves them as they are.
    yield text.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
  }
}

async function* readRun(file: string): AsyncGenerator<FileRow> {
  for await (const line of createInterface({ input: createReadStream(file) })) yield JSON.parse(line) as FileRow;
}

interface Head {
  value: FileRow;
  readonly run: AsyncIterator<FileRow>;
}

async function* merge(runs: readonly AsyncIterator<FileRow>[], order: Order): AsyncGenerator<FileRow> {
  const heap: Head[] = [];
  for (const run of runs) {
    const next = await run.next();
    if (next.done !== true) heap.push({ value: next.value, run });
  }
  heap.sort((a, b) => order(a.value, b.value));
  for (let head = heap[0]; head !== undefined; head = heap[0]) {
    yield head.value;
    const next = await head.run.next();
    if (next.done !== true) head.value = next.value;
    else {
      const last = heap.pop();
      if (last !== undefined && last !== head) heap[0] = last;
    }
    sink(heap, order);
  }
}

/** Puts the first of a heap in its place. */
function sink(heap: Head[], order: Order): void {
  for (let at = 0; ; ) {
    let least = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      const [a, b] = [heap[child], heap[least]];
      if (a !== undefined && b !== undefined && order(a.value, b.value) < 0) least = child;
    }
    const [upper, lower] = [heap[at], heap[least]];
    if (least === at || upper === undefined || lower === undefined) return;
    heap[at] = lower;
    heap[least] = upper;
    at = least;
  }
}
