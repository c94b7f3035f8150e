/** Progress on standard error: one redrawn line on a terminal, plain lines at intervals elsewhere. */
export interface ProgressState {
  readonly done: number;
  readonly total: number;
  readonly text: string;
}

export class ProgressLine {
  readonly #label: string;
  readonly #out: NodeJS.WriteStream;
  readonly #everyMs: number;
  #last = 0;
  #drawn = false;

  constructor(label: string, out: NodeJS.WriteStream = process.stderr) {
    this.#label = label;
    this.#out = out;
    this.#everyMs = out.isTTY ? 100 : 5000;
  }

  update(state: ProgressState): void {
    const now = performance.now();
    if (this.#drawn && now - this.#last < this.#everyMs) return;
    this.#last = now;
    const share = state.total > 0 ? Math.min(1, state.done / state.total) : 1;
    const percent = `${Math.floor(share * 100)}`.padStart(3);
    if (!this.#out.isTTY) {
      this.#out.write(`${this.#label} ${percent} % ${state.text}\n`);
    } else {
      const width = 24;
      const full = Math.round(share * width);
      const line = `${this.#label} ${'█'.repeat(full)}${'░'.repeat(width - full)} ${percent} % ${state.text}`;
      this.#out.write(`\r\u001b[K${line.slice(0, (this.#out.columns ?? 120) - 1)}`);
    }
    this.#drawn = true;
  }

  /** Ends the redrawn line. */
  end(): void {
    if (this.#drawn && this.#out.isTTY) this.#out.write('\n');
    this.#drawn = false;
  }
}
