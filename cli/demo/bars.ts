/** Several progress bars: redrawn in place on a terminal; elsewhere, one line when a stage arrives. */
import type { Arrival } from './follow.ts';

const width = 28;

export class Bars {
  readonly #out: NodeJS.WriteStream;
  readonly #said = new Set<string>();
  #lines = 0;

  constructor(out: NodeJS.WriteStream = process.stdout) {
    this.#out = out;
  }

  update(arrivals: readonly Arrival[]): void {
    if (!this.#out.isTTY) {
      for (const arrival of arrivals) {
        if (arrival.ms === undefined || this.#said.has(arrival.stage)) continue;
        this.#said.add(arrival.stage);
        this.#out.write(`  ${describe(arrival)}\n`);
      }
      return;
    }
    const up = this.#lines > 0 ? `\u001b[${this.#lines}A` : '';
    const lines = arrivals.map((arrival) => {
      const share = arrival.total > 0 ? arrival.done / arrival.total : 0;
      const full = Math.round(share * width);
      return `\u001b[K  ${'█'.repeat(full)}${'░'.repeat(width - full)} ${describe(arrival)}`;
    });
    this.#out.write(`${up}${lines.join('\n')}\n`);
    this.#lines = lines.length;
  }
}

function describe({ stage, done, total, ms }: Arrival): string {
  const count = `${done.toLocaleString('en-US')} of ${total.toLocaleString('en-US')}`;
  const rate = ms === undefined ? '' : ` after ${(ms / 1000).toFixed(1)} s`;
  return `${stage.padEnd(23)} ${count}${rate}`;
}
