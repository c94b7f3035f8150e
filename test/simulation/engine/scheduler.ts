import { createHash } from 'node:crypto';
import { Heap, type HeapEntry } from '../../../core/processor/heap.ts';

interface Scheduled extends HeapEntry {
  readonly action: () => void;
}

const tailLines = 400;
const hashedLines = 500;

/**
 * Virtual time: a heap of events, run one at a time. After each of them every promise that it settled has run its course before the next
 * one begins, so the order of all that happens is a function of the events alone.
 *
 * Everything that happens is traced; the trace's hash tells whether two runs were the same.
 */
export class Scheduler {
  readonly #heap = new Heap<Scheduled>();
  readonly #hash = createHash('sha256');
  readonly #tail: string[] = [];
  readonly #untold: string[] = [];
  #now = 0;
  #serial = 0;
  #events = 0;

  /** Virtual milliseconds since the run began. */
  get now(): number {
    return this.#now;
  }

  get events(): number {
    return this.#events;
  }

  /** Runs `action` after so many virtual milliseconds, after everything that is due at the same time already. Returns how to cancel it. */
  after(delayMs: number, action: () => void): () => void {
    const entry: Scheduled = { due: 0, tie: this.#serial++, slot: -1, action };
    this.#heap.set(entry, this.#now + Math.max(0, delayMs));
    return () => this.#heap.delete(entry);
  }

  /** Runs events until `done` says so or `limitMs` of virtual time is reached. False in the latter case, and when nothing is left to happen. */
  async run(done: () => boolean, limitMs: number): Promise<boolean> {
    while (!done()) {
      const next = this.#heap.first();
      if (next === undefined || next.due > limitMs) return false;
      this.#heap.delete(next);
      this.#now = next.due;
      this.#events += 1;
      next.action();
      await settled();
    }
    return true;
  }

  /** Something that a reader of the trace wants to see. */
  trace(what: string): void {
    const line = `${this.#now.toFixed(3)} ${what}`;
    this.#untold.push(line);
    this.#tail.push(line);
    if (this.#tail.length > 2 * tailLines) this.#tail.splice(0, tailLines);
    if (this.#untold.length > hashedLines) this.#tell();
  }

  /** Something that only makes two runs differ. */
  note(what: string): void {
    this.#untold.push(`${this.#now.toFixed(3)} ${what}`);
    if (this.#untold.length > hashedLines) this.#tell();
  }

  /** The last lines of the trace, oldest first. */
  tail(lines = tailLines): readonly string[] {
    return this.#tail.slice(-lines);
  }

  /** Ends the trace; call it once. */
  digest(): string {
    this.#tell();
    return this.#hash.digest('hex');
  }

  #tell(): void {
    this.#hash.update(this.#untold.join('\n'));
    this.#untold.length = 0;
  }
}

/** Resolves when no promise has anything left to do: ticks run after all of them, and nothing in a simulation waits for the outside. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
