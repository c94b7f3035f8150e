import type { Clock } from '../../../../core/base/clock.ts';
import type { Random } from '../random.ts';
import type { Scheduler } from '../scheduler.ts';

/** What becomes of one request of one process. */
export interface Fate {
  /** Milliseconds until the request arrives; undefined: it is lost. */
  readonly request: number | undefined;
  /** Milliseconds until the answer arrives; undefined: it is lost. */
  readonly answer: number | undefined;
  /** The process is killed, or stopped for so many milliseconds: before it sends the request, or when the request is on its way. */
  readonly strike?: { readonly at: 'before' | 'sent'; readonly stallMs: number | 'kill' };
}

export type FateOf = (host: Host, request: string) => Fate;

/** A request that got no answer in time. Whether it was served is unknown. */
export class NoAnswer extends Error {}

export type Answer<T> = (outcome: { readonly value: T } | { readonly error: unknown }) => void;

export interface HostOptions {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly fate: FateOf;
  /** Its wall clock minus virtual time, milliseconds. */
  readonly skewMs: number;
  readonly onKilled: (why: string) => void;
}

/** Where virtual time begins for a process' clock. */
const epochMs = 1_750_000_000_000;

/** A request that is not answered within this time has failed for its sender. */
export const requestTimeoutMs = 2_000;

/**
 * A process of the simulation: the one place through which its code waits for anything. Killed, none of its timers fires and none of its
 * requests is answered again, while requests that are on their way still arrive; stopped, all of that waits until it goes on, and it
 * goes on as if no time had passed.
 */
export class Host {
  readonly name: string;
  readonly clock: Clock;
  readonly #options: HostOptions;
  readonly #backlog: { readonly timer: boolean; readonly action: () => void }[] = [];
  #state: 'running' | 'stopped' | 'dead' = 'running';

  constructor(options: HostOptions) {
    this.#options = options;
    this.name = options.name;
    this.clock = {
      now: () => epochMs + Math.floor(options.scheduler.now) + options.skewMs,
      sleep: (ms, signal) => this.#sleep(ms, signal),
    };
  }

  get state(): 'running' | 'stopped' | 'dead' {
    return this.#state;
  }

  kill(why: string): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#backlog.length = 0;
    this.#options.scheduler.trace(`${this.name} is killed ${why}`);
    this.#options.onKilled(why);
  }

  /** SIGSTOP now, SIGCONT after so many milliseconds. */
  stop(ms: number, why: string): void {
    if (this.#state !== 'running') return;
    const { scheduler, random } = this.#options;
    this.#state = 'stopped';
    scheduler.trace(`${this.name} is stopped for ${ms} ms ${why}`);
    scheduler.after(ms, () => {
      if (this.#state !== 'stopped') return;
      this.#state = 'running';
      scheduler.trace(`${this.name} goes on`);
      const waiting = this.#backlog.splice(0);
      // An event loop that was frozen looks at its timers before its sockets, or at its sockets first: it depends on where it was.
      if (random.chance(0.5)) waiting.sort((a, b) => Number(b.timer) - Number(a.timer));
      for (const { timer, action } of waiting) scheduler.after(0, () => this.#deliver(action, timer));
    });
  }

  /** Sends a request. @throws NoAnswer after `timeoutMs`; whatever the server refuses it with. */
  call<T>(request: string, serve: (answer: Answer<T>) => void, timeoutMs = requestTimeoutMs): Promise<T> {
    const { scheduler, fate: fateOf } = this.#options;
    const fate = fateOf(this, request);
    scheduler.note(`${this.name} ${request}`);
    return new Promise<T>((resolve, reject) => {
      if (fate.strike?.at === 'before') this.#strike(fate.strike.stallMs, `before ${request}`);
      if (this.#state === 'dead') return;
      let over = false;
      const settle = (timer: boolean, action: () => void): void =>
        this.#deliver(() => {
          if (over) return;
          over = true;
          cancel();
          action();
        }, timer);
      const cancel = scheduler.after(timeoutMs, () =>
        settle(true, () => reject(new NoAnswer(`${request} was not answered within ${timeoutMs} ms`))),
      );
      if (fate.request !== undefined) {
        scheduler.after(fate.request, () => {
          serve((outcome) => {
            if (fate.answer === undefined) return;
            scheduler.after(fate.answer, () =>
              settle(false, () => ('error' in outcome ? reject(outcome.error) : resolve(outcome.value))),
            );
          });
        });
      }
      if (fate.strike?.at === 'sent') this.#strike(fate.strike.stallMs, `after sending ${request}`);
    });
  }

  #strike(how: number | 'kill', why: string): void {
    if (how === 'kill') this.kill(why);
    else this.stop(how, why);
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const cancel = this.#options.scheduler.after(Math.max(1, ms), () => this.#deliver(end, true));
      signal?.addEventListener('abort', end, { once: true });
    });
  }

  #deliver(action: () => void, timer: boolean): void {
    if (this.#state === 'running') action();
    else if (this.#state === 'stopped') this.#backlog.push({ timer, action });
  }
}
