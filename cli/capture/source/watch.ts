/** The supervisor's check of the source: findings as metrics and in the log, and missed changes in the record. */
import type { Definition } from '../../../connectors/definition/definition.ts';
import { missedNow, type SourceFinding, seenIn } from '../../../connectors/source/findings.ts';
import { addToRecord } from '../../../connectors/source/record.ts';
import { wantedOf } from '../../../connectors/source/source.ts';
import type { Postgres } from '../../../core/base/postgres.ts';
import type { ServiceContext } from '../../run/service.ts';
import { sourceState } from '../capture.ts';

type Context = Pick<ServiceContext, 'config' | 'metrics' | 'logger'>;

export class SourceWatch {
  readonly #context: Context;
  readonly #definition: () => Promise<Definition>;
  readonly #connect: (signal?: AbortSignal) => Promise<Postgres>;
  #findings: readonly SourceFinding[] = [];

  constructor(
    context: Context,
    definition: () => Promise<Definition>,
    connect: (signal?: AbortSignal) => Promise<Postgres>,
  ) {
    this.#context = context;
    this.#definition = definition;
    this.#connect = connect;
  }

  /** Whether the last check found that everything is captured. */
  get sees(): boolean {
    return this.#findings.every(({ effect }) => effect !== 'blind');
  }

  /** Runs one check. @throws errors of Postgres; the previous result stays valid */
  async look(signal?: AbortSignal): Promise<void> {
    const { config } = this.#context;
    await using db = await this.#connect(signal);
    const definition = await this.#definition();
    const state = await sourceState(db, config, definition);
    const { findings, record, source, slot } = state;
    // Before the capture begins, no change can be missed.
    if (slot !== undefined || record.seen !== undefined) {
      const { name } = definition;
      await addToRecord(db, name, 'missed', without(record.missed, missedNow(findings, new Date().toISOString())));
      await addToRecord(db, name, 'seen', without(record.seen, seenIn(wantedOf(definition.config), source)));
    }
    this.#show(findings, Object.keys(record.parked ?? {}));
    this.#tell(findings);
    this.#findings = findings;
  }

  #show(findings: readonly SourceFinding[], parked: readonly string[]): void {
    const { findings: gauge } = this.#context.metrics.capture;
    gauge.reset();
    for (const { effect, subject } of findings) gauge.inc({ effect, subject });
    for (const subject of parked) gauge.set({ effect: 'parked', subject }, 1);
  }

  /** Logs each finding once, and its end once. */
  #tell(findings: readonly SourceFinding[]): void {
    const { logger } = this.#context;
    const known = new Set(this.#findings.map(({ cause }) => cause));
    const now = new Set(findings.map(({ cause }) => cause));
    for (const { effect, subject, cause, remedy } of findings) {
      if (known.has(cause)) continue;
      const level = effect === 'weak' ? 'warn' : 'error';
      logger[level]({ effect, subject, remedy }, cause);
    }
    for (const { subject, cause } of this.#findings) {
      if (!now.has(cause)) logger.info({ subject }, `over: ${cause}`);
    }
  }
}

/** The entries that are not known yet. A check without news writes nothing. */
function without<T>(known: Readonly<Record<string, T>> = {}, entries: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(entries).filter(([name]) => known[name] === undefined));
}
