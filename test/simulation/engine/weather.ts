import type { Fate, Host } from './processes/host.ts';
import { requestTimeoutMs } from './processes/host.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** How bad a run is, drawn from its seed: each kind of fault is off in some runs, so that kinds are also met in few and odd companies. */
export interface Climate {
  /** Longest one-way latency of a request, milliseconds. */
  readonly latencyMs: number;
  /** Shares of requests. */
  readonly lost: number;
  readonly slow: number;
  readonly killed: number;
  readonly stopped: number;
  /** Mean virtual time between two of a kind, milliseconds; 0: never. */
  readonly killEveryMs: number;
  readonly stopEveryMs: number;
  readonly restartEveryMs: number;
  readonly cutEveryMs: number;
  readonly guestEveryMs: number;
  readonly outageEveryMs: number;
  readonly compactEveryMs: number;
  /** Everything is stopped, and the broker deletes the offsets. */
  readonly expireEveryMs: number;
  /** Longest time that a transaction's marker takes. */
  readonly markerMs: number;
  readonly transactionTimeoutMs: number;
  readonly sessionTimeoutMs: number;
  /** Greatest difference between a process' clock and the virtual one, milliseconds. */
  readonly skewMs: number;
  readonly hosts: number;
  readonly portionRecords: number;
}

export const calm: Climate = Object.freeze({
  latencyMs: 2,
  lost: 0,
  slow: 0,
  killed: 0,
  stopped: 0,
  killEveryMs: 0,
  stopEveryMs: 0,
  restartEveryMs: 0,
  cutEveryMs: 0,
  guestEveryMs: 0,
  outageEveryMs: 0,
  compactEveryMs: 0,
  expireEveryMs: 0,
  markerMs: 1,
  transactionTimeoutMs: 15_000,
  sessionTimeoutMs: 3_000,
  skewMs: 0,
  hosts: 1,
  portionRecords: 1_000,
});

export function drawClimate(random: Random): Climate {
  const some = <T>(off: T, ...on: readonly T[]): T => (random.chance(0.45) ? off : random.pick(on));
  return {
    latencyMs: random.pick([2, 8, 30]),
    lost: some(0, 0.002, 0.01),
    slow: some(0, 0.003, 0.015),
    killed: some(0, 0.002, 0.006),
    stopped: some(0, 0.001, 0.003),
    killEveryMs: some(0, 1_500, 5_000),
    stopEveryMs: some(0, 3_000, 7_000),
    restartEveryMs: some(0, 2_000, 5_000),
    cutEveryMs: some(0, 5_000),
    guestEveryMs: some(0, 1_500, 4_000),
    outageEveryMs: some(0, 4_000),
    compactEveryMs: some(0, 200, 1_000),
    markerMs: random.pick([2, 20, 120]),
    transactionTimeoutMs: random.pick([800, 4_000, 15_000]),
    sessionTimeoutMs: random.pick([1_000, 2_500]),
    skewMs: some(0, 3_600_000),
    hosts: random.pick([1, 2, 2, 3]),
    portionRecords: random.pick([1, 3, 10, 50]),
    expireEveryMs: random.chance(0.2) ? 3_000 : 0,
  };
}

/** Where a crash is worth most: around what a commit and a takeover consist of. */
const delicate = new Set([
  'AddPartitionsToTxn',
  'Produce',
  'AddOffsetsToTxn',
  'TxnOffsetCommit',
  'EndTxn',
  'InitProducerId',
  'OffsetFetch',
]);
const delicateFactor = 8;

/** Decides what becomes of each request; from `endMs` on everything arrives. */
export class Weather {
  readonly #climate: Climate;
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #endMs: number;
  /** Processes without a network, and until when. */
  readonly #cut = new Map<Host, number>();
  /** The registry does not answer until then. */
  #outageUntil = 0;

  constructor(climate: Climate, random: Random, scheduler: Scheduler, endMs: number) {
    this.#climate = climate;
    this.#random = random;
    this.#scheduler = scheduler;
    this.#endMs = endMs;
  }

  get over(): boolean {
    return this.#scheduler.now >= this.#endMs;
  }

  cut(host: Host, ms: number): void {
    this.#scheduler.trace(`${host.name} has no network for ${ms} ms`);
    this.#cut.set(host, Math.min(this.#endMs, this.#scheduler.now + ms));
  }

  outage(ms: number): void {
    this.#scheduler.trace(`the registry is away for ${ms} ms`);
    this.#outageUntil = Math.min(this.#endMs, this.#scheduler.now + ms);
  }

  fate(host: Host, request: string): Fate {
    const { latencyMs, lost, slow, killed, stopped } = this.#climate;
    const random = this.#random;
    const latency = (): number => 0.05 + random.next() * random.next() * latencyMs;
    const usual: Fate = { request: latency(), answer: latency() };
    if (this.over) return usual;
    const { now } = this.#scheduler;
    if (now < (this.#cut.get(host) ?? 0)) return { request: undefined, answer: undefined };
    if (request === 'Schema' && now < this.#outageUntil) return { request: undefined, answer: undefined };
    const factor = delicate.has(request) ? delicateFactor : 1;
    const dice = random.next();
    const at = random.pick(['before', 'sent'] as const);
    let below = killed * factor;
    if (dice < below) return { ...usual, strike: { at, stallMs: 'kill' } };
    below += stopped * factor;
    if (dice < below) return { ...usual, strike: { at, stallMs: stallMs(random) } };
    below += lost * factor;
    if (dice < below) return this.#told(host, request, 'is lost', { ...usual, request: undefined });
    below += lost * factor;
    if (dice < below) return this.#told(host, request, 'gets no answer', { ...usual, answer: undefined });
    below += slow * factor;
    if (dice < below) {
      return this.#told(host, request, 'is slow', { ...usual, request: slowMs(random) });
    }
    below += slow * factor;
    if (dice < below) {
      return this.#told(host, request, 'is answered slowly', {
        ...usual,
        answer: slowMs(random),
      });
    }
    return usual;
  }

  #told(host: Host, request: string, what: string, fate: Fate): Fate {
    this.#scheduler.trace(`${host.name} ${request} ${what}`);
    return fate;
  }
}

/** Anything up to later than its sender waits; or just later, when the sender is at its next request. */
function slowMs(random: Random): number {
  return random.chance(0.5) ? random.next() * 1.5 * requestTimeoutMs : requestTimeoutMs + random.next() * 60;
}

/** A hiccup, or longer than a session lasts. */
export function stallMs(random: Random): number {
  return random.chance(0.4) ? random.int(20, 400) : random.int(1_500, 6_000);
}
