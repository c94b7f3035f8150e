import { Counter, Gauge, type Registry } from 'prom-client';

/** What one comparison found. */
export interface Verdict {
  readonly name: string;
  readonly differences: number;
  readonly skipped?: boolean;
}

/** Trades that are in no candle of an interval. */
export interface MissingTradeCount {
  readonly interval: string;
  readonly reason: string;
  readonly trades: number;
}

/** Metrics of a process that verifies again and again. They are about the last verdict; a run without one leaves them as they are. */
export class VerificationMetrics {
  readonly #differences: Gauge<'check'>;
  readonly #missing: Gauge<'interval' | 'reason'>;
  readonly #completed: Gauge;
  readonly #seconds: Gauge;
  readonly #failures: Counter<'reason'>;
  readonly #now: () => number;

  /** @param everySeconds between the starts of two runs */
  constructor(registry: Registry, everySeconds: number, now: () => number = Date.now) {
    const registers = [registry];
    this.#differences = new Gauge({
      name: 'millrace_verify_differences',
      help: 'Differences that the last verdict counts, by check; absent for one that was skipped.',
      labelNames: ['check'],
      registers,
    });
    this.#missing = new Gauge({
      name: 'millrace_verify_trades_in_no_candle',
      help: 'Trades of Postgres that are in no candle of an interval at the last verdict, by reason; no difference.',
      labelNames: ['interval', 'reason'],
      registers,
    });
    this.#completed = new Gauge({
      name: 'millrace_verify_completed_seconds',
      help: 'When the last verdict came, seconds since the epoch; at first the start of the process.',
      registers,
    });
    this.#seconds = new Gauge({
      name: 'millrace_verify_seconds',
      help: 'How long the last verdict took, with waiting for the stages.',
      registers,
    });
    const every = new Gauge({
      name: 'millrace_verify_every_seconds',
      help: 'Time between the starts of two runs.',
      registers,
    });
    this.#failures = new Counter({
      name: 'millrace_verify_failures_total',
      help: 'Runs without a verdict, by the code of the error.',
      labelNames: ['reason'],
      registers,
    });
    every.set(everySeconds);
    this.#completed.set(now() / 1000);
    this.#now = now;
  }

  verdict(checks: readonly Verdict[], missing: readonly MissingTradeCount[], seconds: number): void {
    this.#differences.reset();
    for (const { name, differences, skipped } of checks) {
      if (skipped !== true) this.#differences.set({ check: name }, differences);
    }
    this.#missing.reset();
    for (const { interval, reason, trades } of missing) this.#missing.inc({ interval, reason }, trades);
    this.#completed.set(this.#now() / 1000);
    this.#seconds.set(seconds);
  }

  failed(reason: string): void {
    this.#failures.inc({ reason });
  }
}
