/** External merge sort of rows by time, over runs on disk. Memory is bounded by one run, and by one buffer per run during the merge. */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ParsedRow } from '../rows/row.ts';

/** A row with its raw line. */
export interface FileRow {
  readonly row: ParsedRow;
  readonly raw: string;
}

export interface SortOptions {
  /** Sort rows of one time by descending line. Default false. */
  readonly reverse?: boolean;
  /** Rows per run. Default 50,000. */
  readonly runRows?: number;
  /** Folder of the sorted runs. Default: the system's temporary folder. */
  readonly dir?: string;
}

/** A row as text, with its sort key. Cells would keep the file buffers from which they were cut. */
interface Entry {
  readonly executedAt: string;
  readonly line: number;
  readonly text: string;
}

type Order = (a: Entry, b: Entry) => number;

/** Keeps its runs until it is disposed of; they may be read more than once. */
export class Sorter implements AsyncDisposable {
  readonly #options: SortOptions;
  readonly #order: Order;
  readonly #runs: string[] = [];
  #dir: string | undefined;
  #entries: Entry[] = [];

  constructor(options: SortOptions = {}) {
    this.#options = options;
    const sign = options.reverse === true ? -1 : 1;
    // Times are texts of equal width, so text order is time order.
    this.#order = (a, b) =>
      a.executedAt < b.executedAt ? -1 : a.executedAt > b.executedAt ? 1 : sign * (a.line - b.line);
  }

  async add(row: FileRow): Promise<void> {
    // Readline also ends lines at these characters, and JSON does not escape them.
    const text = JSON.stringify(row).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
    this.#entries.push({ executedAt: row.row.executedAt, line: row.row.line, text });
    if (this.#entries.length >= (this.#options.runRows ?? 50_000)) await this.#spill();
  }

  async #spill(): Promise<void> {
    this.#dir ??= await mkdtemp(join(this.#options.dir ?? tmpdir(), 'millrace-sort-'));
    const entries = this.#entries.sort(this.#order);
    this.#entries = [];
    const file = join(this.#dir, String(this.#runs.length));
    this.#runs.push(file);
    await pipeline(Readable.from(portions(entries)), createWriteStream(file));
  }

  async *sorted(): AsyncGenerator<FileRow> {
    const runs: AsyncIterator<Entry>[] = this.#runs.map((file) => readRun(file));
    this.#entries.sort(this.#order);
    runs.push(Readable.from(this.#entries)[Symbol.asyncIterator]() as AsyncIterator<Entry>);
    try {
      for await (const { text } of merge(runs, this.#order)) yield JSON.parse(text) as FileRow;
    } finally {
      await Promise.all(runs.map((run) => run.return?.()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#entries = [];
    if (this.#dir !== undefined) await rm(this.#dir, { recursive: true, force: true });
  }
}

/** Lines of a run: time, line and text. The text is last, because it may contain spaces. */
function* portions(entries: readonly Entry[]): Generator<string> {
  for (let from = 0; from < entries.length; from += 500) {
    let lines = '';
    for (const { executedAt, line, text } of entries.slice(from, from + 500))
      lines += `${executedAt} ${line} ${text}\n`;
    yield lines;
  }
}

async function* readRun(file: string): AsyncGenerator<Entry> {
  for await (const each of createInterface({ input: createReadStream(file) })) {
    const [first, second] = [each.indexOf(' '), each.indexOf(' ', each.indexOf(' ') + 1)];
    yield {
      executedAt: each.slice(0, first),
      line: Number(each.slice(first + 1, second)),
      text: each.slice(second + 1),
    };
  }
}

interface Head {
  value: Entry;
  readonly run: AsyncIterator<Entry>;
}

async function* merge(runs: readonly AsyncIterator<Entry>[], order: Order): AsyncGenerator<Entry> {
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

/** Restores the heap after a change of its first entry. */
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
