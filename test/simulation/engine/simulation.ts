import { dispositionOf, isError, MillraceError } from '../../../core/base/errors.ts';
import { type Log, partitionId } from '../../../core/log/log.ts';
import { groupOf, type RunnerEvent } from '../../../core/runtime/runner.ts';
import { transactionalId } from '../../../core/runtime/takeover.ts';
import { changelogTopic, taskKey } from '../../../core/state/changelog/changelog.ts';
import { Broker } from './broker/broker.ts';
import { Coordinator } from './broker/coordinator.ts';
import { HostLog } from './broker/host-log.ts';
import { readingLog } from './broker/reading.ts';
import { Host } from './processes/host.ts';
import { restoreAll } from './processes/operator.ts';
import { type Services, startServices } from './processes/processes.ts';
import { Random } from './random.ts';
import type { Scenario, View } from './scenario.ts';
import { Scheduler } from './scheduler.ts';
import { Source } from './source.ts';
import { type Climate, calm, drawClimate, stallMs, Weather } from './weather.ts';

export interface SimulationOptions {
  readonly seed: number;
  /** What is not said is drawn from the seed. */
  readonly climate?: Partial<Climate>;
  /** Virtual milliseconds during which things go wrong. Default 6,000. */
  readonly stormMs?: number;
}

export interface SimulationResult {
  readonly seed: number;
  readonly climate: Climate;
  /** Empty when all was right. */
  readonly violations: readonly string[];
  /** Of the whole trace: equal for equal runs. */
  readonly hash: string;
  /** The last lines of the trace. */
  readonly trace: readonly string[];
  /** Virtual milliseconds. */
  readonly lasted: number;
  readonly events: number;
  readonly processes: number;
  readonly scenario: Scenario;
  /** What is in the log at the end, for reading. */
  readonly log: Log;
  /** What has to be the same in every weather. */
  readonly lasting: ReadonlyMap<string, readonly string[]>;
}

const defaultStormMs = 6_000;
/** All has to be done within so much virtual time after the storm. */
const patienceMs = 90_000;
const beatEveryMs = 400;
/** How long all is read before the last heartbeats have surely come through; and when they could have. */
const longestQuietMs = 8_000;
const shortestQuietMs = 300;
const glanceEveryMs = 250;
const overEveryMs = 100;

/**
 * One run of the runtime in virtual time: the same runner, task, takeover, handler and commits as in production, in processes that are
 * killed, stopped, cut off and told late, over a log whose every answer takes time or is lost. Its course is a function of the seed.
 */
export async function simulate(
  make: (random: Random, stormMs: number) => Promise<Scenario>,
  options: SimulationOptions,
): Promise<SimulationResult> {
  const random = new Random(options.seed);
  const stormMs = options.stormMs ?? defaultStormMs;
  // The scenario has a stream of its own: it is the same in any weather.
  const scenario = await make(new Random(options.seed, 1), stormMs);
  const run = new Run(scenario, options, random, stormMs);
  return run.outcome();
}

/** A place in which a process runs, one after the other. */
interface Slot {
  host: Host | undefined;
  services: Services | undefined;
  /** Nothing is started here any more. */
  leaving: boolean;
}

class Run {
  readonly #scenario: Scenario;
  readonly #seed: number;
  readonly #climate: Climate;
  readonly #random: Random;
  readonly #stormMs: number;
  readonly #scheduler = new Scheduler();
  readonly #broker: Broker;
  readonly #coordinator: Coordinator;
  readonly #weather: Weather;
  readonly #source: Source;
  readonly #slots: Slot[] = [];
  readonly #violations = new Set<string>();
  #processes = 0;
  /** From the deletion of the offsets until the operator has restored them. */
  #expired: 'unnoticed' | 'noticed' | undefined;
  #quietSince: number | undefined;
  #ended = false;

  constructor(scenario: Scenario, { seed, climate }: SimulationOptions, random: Random, stormMs: number) {
    this.#scenario = scenario;
    this.#seed = seed;
    this.#random = random;
    this.#stormMs = stormMs;
    const scheduler = this.#scheduler;
    this.#climate = { ...drawClimate(random.fork(2)), ...climate };
    this.#broker = new Broker({ scheduler, random: random.fork(3), ...this.#climate });
    this.#coordinator = new Coordinator({
      scheduler,
      sessionTimeoutMs: this.#climate.sessionTimeoutMs,
      rebalanceTimeoutMs: this.#climate.sessionTimeoutMs,
      partitions: (topic) => this.#broker.partitions(topic),
    });
    this.#weather = new Weather(this.#climate, random.fork(4), scheduler, stormMs);
    this.#source = new Source(this.#broker, scheduler, random.fork(5));
    this.#createTopics();
  }

  async outcome(): Promise<SimulationResult> {
    const { hosts } = this.#climate;
    this.#source.play(this.#scenario.source);
    for (let slot = 0; slot < hosts; slot++) {
      this.#slots.push({ host: undefined, services: undefined, leaving: false });
      this.#scheduler.after(this.#random.int(0, 300), () => this.#boot(slot));
    }
    this.#brew();
    this.#every(glanceEveryMs, () => this.#glance());
    this.#every(beatEveryMs, (nth) => {
      if (this.#source.done) this.#broker.append(this.#scenario.lastBeat(nth));
    });
    this.#every(overEveryMs, () => this.#lookForTheEnd());
    const limitMs = this.#stormMs + patienceMs;
    const quiet = await this.#scheduler.run(() => this.#ended || this.#violations.size > 0, limitMs);
    if (!quiet) this.#violate(`no end: ${this.#whatIsLeft()}`);
    if (this.#violations.size === 0) await this.#shutDownAll(limitMs);
    const view = this.#view();
    if (this.#violations.size === 0) for (const wrong of this.#scenario.verdict(view)) this.#violate(wrong);
    return {
      seed: this.#seed,
      climate: this.#climate,
      violations: [...this.#violations],
      trace: this.#scheduler.tail(),
      hash: this.#scheduler.digest(),
      lasted: this.#scheduler.now,
      events: this.#scheduler.events,
      processes: this.#processes,
      scenario: this.#scenario,
      log: readingLog(this.#broker),
      lasting: this.#scenario.lasting?.(view) ?? new Map(),
    };
  }

  #createTopics(): void {
    const { processors, partitions, heartbeatTopic } = this.#scenario;
    const topics = new Set<string>();
    for (const { processor } of processors) {
      for (const { topic } of processor.inputs) topics.add(topic);
      for (const { topic } of processor.outputs) topics.add(topic);
      for (const suffix of ['changelog', 'journal', 'snapshots', 'late', 'dead'])
        topics.add(`${processor.name}.${suffix}`);
      for (const { topic } of processor.tables ?? []) this.#broker.create(topic, 1);
    }
    for (const topic of topics) this.#broker.create(topic, partitions);
    this.#broker.create(heartbeatTopic, 1);
  }

  /** What goes wrong by the clock. */
  #brew(): void {
    const { killEveryMs, stopEveryMs, restartEveryMs, cutEveryMs, guestEveryMs, outageEveryMs } = this.#climate;
    const { compactEveryMs, expireEveryMs } = this.#climate;
    const random = this.#random.fork(6);
    const someone = (): Host | undefined => random.pick(this.#slots).host;
    this.#nowAndThen(random, killEveryMs, () => someone()?.kill('at once'));
    this.#nowAndThen(random, stopEveryMs, () => someone()?.stop(stallMs(random), 'by a signal'));
    this.#nowAndThen(random, restartEveryMs, () => this.#shutDown(random.int(0, this.#slots.length - 1)));
    this.#nowAndThen(random, outageEveryMs, () => this.#weather.outage(random.int(300, 4_000)));
    this.#nowAndThen(random, cutEveryMs, () => {
      const host = someone();
      if (host !== undefined) this.#weather.cut(host, random.int(300, 4_000));
    });
    this.#nowAndThen(random, guestEveryMs, () => {
      const slot = this.#slots.push({ host: undefined, services: undefined, leaving: false }) - 1;
      this.#boot(slot);
      this.#scheduler.after(random.int(200, 3_000), () => {
        (this.#slots[slot] as Slot).leaving = true;
        this.#shutDown(slot);
      });
    });
    this.#nowAndThen(random, compactEveryMs, () => {
      for (const { processor } of this.#scenario.processors) {
        const partition = random.int(0, this.#scenario.partitions - 1);
        this.#broker.compact({ topic: `${processor.name}.changelog`, partition });
      }
    });
    this.#nowAndThen(random, expireEveryMs, () => this.#expire());
  }

  #nowAndThen(random: Random, everyMs: number, action: () => void): void {
    if (everyMs === 0) return;
    const again = (): void => {
      this.#scheduler.after(2 * everyMs * random.next(), () => {
        if (this.#weather.over) return;
        action();
        again();
      });
    };
    again();
  }

  #every(ms: number, action: (nth: number) => void, nth = 0): void {
    this.#scheduler.after(ms, () => {
      action(nth);
      this.#every(ms, action, nth + 1);
    });
  }

  #boot(slot: number): void {
    const at = this.#slots[slot];
    if (at === undefined || at.leaving || at.host !== undefined || this.#expired === 'noticed') return;
    this.#processes += 1;
    const { skewMs } = this.#climate;
    const host: Host = new Host({
      name: `p${slot}.${this.#processes}`,
      scheduler: this.#scheduler,
      random: this.#random.fork(7),
      fate: (from, request) => this.#weather.fate(from, request),
      skewMs: this.#random.int(-skewMs, skewMs),
      onKilled: () => this.#gone(slot, host),
    });
    at.host = host;
    this.#scheduler.trace(`${host.name} starts`);
    const log = new HostLog(host, this.#broker, this.#coordinator);
    startServices(host, log, this.#scenario, (event) => this.#trace(host, event)).then(
      (services) => {
        at.services = services;
        services.failed.catch((error: unknown) => this.#failed(host, error));
        if (at.leaving) this.#shutDown(slot);
      },
      (error: unknown) => this.#failed(host, error),
    );
  }

  /** Everything ends, and its offsets are deleted. What is started again has to notice. */
  #expire(): void {
    const groups = this.#scenario.processors.map(({ processor }) => groupOf(processor.name));
    const inputs = this.#scenario.processors.flatMap(({ processor }) => processor.inputs.map(({ topic }) => topic));
    const written = groups.some((group) => inputs.some((topic) => this.#broker.committed(group, topic).length > 0));
    if (this.#expired !== undefined || !written) return;
    for (const { host } of this.#slots) host?.kill('before its offsets expire');
    this.#scheduler.trace('the offsets expire');
    for (const group of groups) this.#broker.forget(group);
    this.#expired = 'unnoticed';
  }

  /** Whether transactions that were under way have committed all offsets again that were deleted: then nobody has to notice. */
  get #recommitted(): boolean {
    return this.#scenario.processors.every(({ processor: { name, inputs } }) => {
      const [{ topic }] = inputs;
      const committed = new Set(this.#broker.committed(groupOf(name), topic).map(({ partition }) => partition));
      return this.#broker.ends(topic).every((_, partition) => {
        if (this.#broker.busy(transactionalId(groupOf(name), { topic, partition }))) return false;
        const state = this.#broker.visible({ topic: changelogTopic(name), partition });
        return committed.has(partition) || state.every(({ key }) => key?.equals(taskKey) !== true);
      });
    });
  }

  /** Nothing runs until the offsets are restored. */
  async #restore(): Promise<void> {
    this.#expired = 'noticed';
    for (const { host } of this.#slots) host?.kill('for a restore of the offsets');
    const host = new Host({
      name: `operator${this.#processes}`,
      scheduler: this.#scheduler,
      random: this.#random.fork(7),
      fate: (from, request) => this.#weather.fate(from, request),
      skewMs: 0,
      onKilled: () => void this.#restore(),
    });
    await restoreAll(host, new HostLog(host, this.#broker, this.#coordinator), this.#scenario);
    this.#scheduler.trace('the offsets are restored');
    this.#expired = undefined;
    for (const slot of this.#slots.keys()) this.#boot(slot);
  }

  /** What an operator's supervisor does: a process that has ended is started again. */
  #gone(slot: number, host: Host): void {
    const at = this.#slots[slot];
    if (at === undefined || at.host !== host) return;
    at.host = undefined;
    at.services = undefined;
    this.#scheduler.after(this.#random.int(30, 1_200), () => this.#boot(slot));
  }

  #shutDown(slot: number): void {
    const at = this.#slots[slot];
    const { host, services } = at ?? {};
    if (at === undefined || host === undefined || services === undefined || host.state !== 'running') return;
    at.services = undefined;
    this.#scheduler.trace(`${host.name} is asked to end`);
    services[Symbol.asyncDispose]().then(
      () => host.kill('by its end'),
      (error: unknown) => this.#failed(host, error),
    );
  }

  #failed(host: Host, error: unknown): void {
    if (host.state === 'dead') return;
    if (this.#expired === 'unnoticed' && isError(error, 'OFFSETS_EXPIRED')) {
      void this.#restore();
      return;
    }
    if (dispositionOf(error) !== 'retry') {
      const { code } = error instanceof MillraceError ? error : { code: undefined };
      this.#violate(`${host.name} ended with ${code ?? 'an error'}: ${(error as Error).stack}`);
    }
    host.kill(`by ${(error as Error).message}`);
  }

  #trace(host: Host, event: RunnerEvent): void {
    const { name, kind } = event;
    const told = (): string => {
      switch (kind) {
        case 'assigned':
          return event.partitions.map(partitionId).join(' ');
        case 'running':
          return event.positions.map((at) => `${partitionId(at)} from ${at.offset}`).join(' ');
        case 'interrupted':
          return `${partitionId(event)}: ${(event.error as Error).message}`;
        case 'closed':
          return partitionId(event);
        default:
          return 'error' in event ? (event.error as Error).message : '';
      }
    };
    this.#scheduler.trace(`${host.name} ${name} ${kind} ${told()}`);
  }

  #glance(): void {
    for (const wrong of this.#scenario.glance(this.#view())) this.#violate(wrong);
  }

  #violate(what: string): void {
    this.#scheduler.trace(`VIOLATION ${what}`);
    this.#violations.add(what);
  }

  /** It is over when everything is read and as it should be, or does not become so through many heartbeats. */
  #lookForTheEnd(): void {
    for (const [slot, { leaving }] of this.#slots.entries()) if (leaving) this.#shutDown(slot);
    const ready = this.#slots.every(({ host, services, leaving }) => (leaving ? host === undefined : services?.ready));
    if (this.#expired === 'unnoticed' && this.#recommitted) this.#expired = undefined;
    const busy =
      !this.#weather.over || this.#expired !== undefined || !this.#source.done || !ready || this.#whatIsLeft() !== '';
    if (busy) this.#quietSince = undefined;
    else this.#quietSince ??= this.#scheduler.now;
    if (this.#quietSince === undefined) return;
    const quietMs = this.#scheduler.now - this.#quietSince;
    if (quietMs < shortestQuietMs) return;
    this.#ended = quietMs > longestQuietMs || this.#scenario.verdict(this.#view()).length === 0;
  }

  async #shutDownAll(limitMs: number): Promise<void> {
    for (const [slot, at] of this.#slots.entries()) {
      at.leaving = true;
      this.#shutDown(slot);
    }
    const ended = await this.#scheduler.run(() => this.#slots.every(({ host }) => host === undefined), limitMs);
    if (!ended) this.#violate('a process does not end when asked to');
  }

  #whatIsLeft(): string {
    const left: string[] = [];
    for (const { processor } of this.#scenario.processors) {
      for (const { topic } of processor.inputs) {
        const offsets = this.#broker.committed(groupOf(processor.name), topic);
        for (const [partition, end] of this.#broker.ends(topic).entries()) {
          const at = offsets.find((each) => each.partition === partition)?.offset ?? 0n;
          if (at < end) left.push(`${processor.name} is at ${at} of ${end} in ${topic}/${partition}`);
        }
      }
    }
    return left.join(', ');
  }

  #view(): View {
    const broker = this.#broker;
    return {
      records: (topic, partition) => broker.visible({ topic, partition }),
      committed: (group, { topic, partition }) =>
        broker.committed(group, topic).find((each) => each.partition === partition)?.offset,
      // Deleted offsets say nothing of what is committed.
      completing: (group, at) => this.#expired !== undefined || broker.completing(transactionalId(group, at)),
    };
  }
}

export { calm };
