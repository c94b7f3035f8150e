import type { Clock } from '../../core/base/clock.ts';
import type { Logger } from '../../core/observability/logger.ts';
import { aborted } from '../terminal/signals.ts';
import type { Service } from './service.ts';

export interface StagesOptions {
  /** Start of each stage, by name. It may be called again after a failure, when the previous service has ended. */
  readonly starts: ReadonlyMap<string, (signal: AbortSignal) => Promise<Service>>;
  /** Wall time before a failed stage is started again, milliseconds. It doubles with each failure, up to ten times its value. */
  readonly retryMs: number;
  /** Ends all stages. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called once for each stage at the beginning, and at each change: false from a failure until the stage is proven again. */
  readonly up: (name: string, up: boolean) => void;
}

interface Stage {
  readonly name: string;
  service: Service | undefined;
  /** The reason why it does not run. */
  failure: { readonly error: unknown } | undefined;
}

/** After this run time, a failed stage counts as up again, and its next failure as the first. Milliseconds. */
const provenMs = 60_000;
const longestRetry = 10;

/**
 * The processors, sinks and the supervisor of one process. The failure of one leaves the others alone.
 *
 * A failed stage is discarded with all its memory and started again after a pause. That is safe for every error: like in a new process, a
 * start is a takeover from the committed state. A process with one stage ends instead, and its caller starts it again.
 */
export class Stages implements AsyncDisposable {
  /** Rejects with the newest error when every stage has failed and none runs. */
  readonly done: Promise<void>;
  /** Resolves when each stage has started or failed once. */
  readonly started: Promise<void>;
  readonly #options: StagesOptions;
  readonly #stages: readonly Stage[];
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #running: Promise<unknown>;
  #fail: (error: unknown) => void = () => undefined;
  #ended: Promise<void> | undefined;

  constructor(options: StagesOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal]);
    this.done = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.done.catch(() => undefined);
    this.#stages = [...options.starts.keys()].map((name) => ({ name, service: undefined, failure: undefined }));
    for (const { name } of this.#stages) options.up(name, true);
    const first = this.#stages.map(() => Promise.withResolvers<void>());
    this.started = Promise.all(first.map(({ promise }) => promise)).then(() => undefined);
    this.#running = Promise.all(
      this.#stages.map((stage, i) => this.#supervise(stage, first[i]?.resolve ?? (() => undefined))),
    );
  }

  /** For /ready: whether the stage has taken its partitions over. @throws the stage's error, with its code in the message */
  ready(name: string): boolean {
    const stage = this.#stages.find((each) => each.name === name);
    if (stage?.service === undefined && stage?.failure !== undefined) throw new Error(describe(stage.failure.error));
    return stage?.service?.ready ?? false;
  }

  /** For /health: stages that have failed and are not proven since, with the reason. */
  failures(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.#stages.flatMap(({ name, failure }) => (failure === undefined ? [] : [[name, describe(failure.error)]])),
    );
  }

  /** For the end of the process. @throws the error of a stage that has failed and is not proven since */
  throwIfFailed(): void {
    for (const { failure } of this.#stages) if (failure !== undefined) throw failure.error;
  }

  /** Ends all stages in order. Idempotent: every call waits for the end. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #supervise(stage: Stage, started: () => void): Promise<void> {
    const { retryMs, clock, logger } = this.#options;
    const signal = this.#signal;
    let waitMs = retryMs;
    for (;;) {
      const error = await this.#run(stage, started, () => {
        waitMs = retryMs;
      });
      started();
      if (signal.aborted) return;
      stage.failure = { error };
      this.#options.up(stage.name, false);
      logger.error({ name: stage.name, err: error, retryMs: waitMs }, 'a stage has failed; the others go on');
      if (this.#stages.every(({ failure, service }) => failure !== undefined && service === undefined))
        this.#fail(error);
      await clock.sleep(waitMs, signal);
      if (signal.aborted) return;
      waitMs = Math.min(2 * waitMs, longestRetry * retryMs);
    }
  }

  /** Runs a stage until it ends. Returns the error that ended it. */
  async #run(stage: Stage, started: () => void, proven: () => void): Promise<unknown> {
    const { starts, clock } = this.#options;
    const life = new AbortController();
    const signal = AbortSignal.any([this.#signal, life.signal]);
    try {
      const service = await starts.get(stage.name)?.(this.#signal);
      if (service === undefined) throw new TypeError(`${stage.name} has no start`);
      stage.service = service;
      started();
      if (stage.failure !== undefined) {
        clock.sleep(provenMs, signal).then(() => {
          if (signal.aborted) return;
          stage.failure = undefined;
          this.#options.up(stage.name, true);
          proven();
        });
      }
      await Promise.race([service.done, aborted(this.#signal)]);
      return new Error(`${stage.name} ended by itself`);
    } catch (error) {
      return error;
    } finally {
      life.abort();
      await this.#close(stage);
    }
  }

  async #close(stage: Stage): Promise<void> {
    const { service } = stage;
    stage.service = undefined;
    try {
      await service?.[Symbol.asyncDispose]();
    } catch (error) {
      this.#options.logger.warn({ name: stage.name, err: error }, 'a stage did not end in order');
    }
  }
}

/** `S3_DENIED: …`. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error ? `${String(error.code)}: ${error.message}` : error.message;
}
