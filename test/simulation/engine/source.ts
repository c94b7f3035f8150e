import type { Broker } from './broker/broker.ts';
import type { Random } from './random.ts';
import type { SourceStep } from './scenario.ts';
import type { Scheduler } from './scheduler.ts';

const producer = 'source';
const longestTransactionMs = 150;
const pollMs = 5;

/** Plays the source's steps into the log. Each is visible before the next begins, so the log's layout is the same in every run. */
export class Source {
  readonly #broker: Broker;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  #epoch = 0;
  #done = false;

  constructor(broker: Broker, scheduler: Scheduler, random: Random) {
    this.#broker = broker;
    this.#scheduler = scheduler;
    this.#random = random;
  }

  /** Whether all steps are visible. */
  get done(): boolean {
    return this.#done;
  }

  play(steps: readonly SourceStep[]): void {
    this.#epoch = this.#broker.initProducer(producer);
    this.#next(steps, 0);
  }

  #next(steps: readonly SourceStep[], at: number): void {
    const step = steps[at];
    if (step === undefined) {
      this.#done = true;
      return;
    }
    this.#scheduler.after(step.atMs - this.#scheduler.now, () => {
      this.#write(step);
      this.#await(() => this.#next(steps, at + 1));
    });
  }

  #write(step: SourceStep): void {
    this.#scheduler.trace(`source: ${step.records.length} records, ${step.as}`);
    if (step.as === 'plain') {
      for (const record of step.records) this.#broker.append(record);
      return;
    }
    this.#broker.addPartitions(producer, this.#epoch, step.records);
    for (const record of step.records) this.#broker.produce(producer, this.#epoch, [record]);
    const outcome = step.as === 'committed' ? 'commit' : 'abort';
    this.#scheduler.after(longestTransactionMs * this.#random.next(), () =>
      this.#broker.endTransaction(producer, this.#epoch, outcome),
    );
  }

  #await(then: () => void): void {
    if (this.#broker.busy(producer)) this.#scheduler.after(pollMs, () => this.#await(then));
    else then();
  }
}
