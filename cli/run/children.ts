import type { Clock } from '../../core/base/clock.ts';
import type { Logger } from '../../core/observability/logger.ts';
import { aborted } from '../terminal/signals.ts';
import type { Service } from './service.ts';

export interface StagesOptions {
  /** Start of each stage, by name. A start may be repeated after a failure, when the service before it has ended. */
  readonly starts: ReadonlyMap<string, (signal: AbortSignal) => Promise<Service>>;
  /** Wall time before a failed stage is started again, milliseconds; doubled with each failure, up to ten times of it. */
  readonly retryMs: number;
  /** Ends all of them. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told once for each stage at the beginning, and whenever it changes: false from a failure until the stage is proven again. */
  readonly up: (name: string, up: boolean) => void;
}

interface Stage {
  readonly name: string;
  service: Service | undefined;
  /** Why it does not run. */
  failure: { readonly error: unknown } | undefined;
}

/** A stage that has run for so long after a failure is up again, and its next failure is a first one. */
const provenMs = 60_000;
const longestRetry = 10;

/**
 * The processors, sinks and the supervisor of one process, each on its own: the failure of one leaves the others alone.
 *
 * A failed stage is thrown away with all its memory and started again after a pause. That is safe, whatever the error: a start is the takeover that
 * a new process would do, from what is committed. A process with one stage ends instead, and its caller starts it again.
 */
export class Stages implements AsyncDisposable {
  /** Rejects with the newest error when all stages have failed and none runs. */
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

  /** For /ready: whether the stage has taken its partitions over. @throws the error that it failed with, with its code in the message. */
  ready(name: string): boolean {
    const stage = this.#stages.find((each) => each.name === name);
    if (stage?.service === undefined && stage?.failure !== undefined) throw new Error(describe(stage.failure.error));
    return stage?.service?.ready ?? false;
  }

  /** For /health: the stages that have failed and are not proven since, and why. */
  failures(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.#stages.flatMap(({ name, failure }) => (failure === undefined ? [] : [[name, describe(failure.error)]])),
    );
  }

  /** At the end of the process. @throws the error of a stage that has failed and is not proven since. */
  throwIfFailed(): void {
    for (const { failure } of this.#stages) if (failure !== undefined) throw failure.error;
  }

  /** Ends all stages in order. Each caller waits for it. */
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

  /** One life of a stage. Returns what ended it, when it has ended. */
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
