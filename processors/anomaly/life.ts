import { createHash } from 'node:crypto';
import type { Context, Store } from '../../core/processor/define.ts';
import type { Anomaly } from '../../schemas/gen/anomaly.ts';
import type { AnomalyKey } from '../../schemas/gen/anomaly_key.ts';
import type { PublishedAnomaly } from './state.ts';

/** Everything of an anomaly but its place in its own life. */
export type Facts = Omit<Anomaly, 'status' | 'revision'>;

/**
 * The life of anomalies: RAISED, REVISED when the figures are others, RETRACTED when the verdict is another, RAISED again; revisions strictly
 * rise. What was said before is not said twice.
 */
export class Anomalies {
  readonly #context: Context;
  readonly #said: Store<PublishedAnomaly>;

  constructor(context: Context, said: Store<PublishedAnomaly>) {
    this.#context = context;
    this.#said = said;
  }

  get size(): number {
    return this.#said.size;
  }

  /** What a rule says now. `facts` is asked for when there is something to say. */
  settle(key: AnomalyKey, fires: boolean, facts: () => Facts): void {
    const id = saidKey(key);
    const before = this.#said.get(id);
    const stands = before !== undefined && before.status !== 'RETRACTED';
    if (!fires && !stands) return;
    const now = facts();
    const digest = digestOf(now);
    if (fires && stands && before.digest === digest) return;
    const status = !fires ? 'RETRACTED' : stands ? 'REVISED' : 'RAISED';
    const revision = (before?.revision ?? 0) + 1;
    this.#said.set(id, { revision, status, digest });
    this.#context.emit('market.anomalies', key, { ...now, status, revision });
  }

  /** No revision of it can come any more. */
  forget(key: AnomalyKey): void {
    this.#said.delete(saidKey(key));
  }
}

function saidKey({ rule, venue, symbol, interval, window_start, event }: AnomalyKey): string {
  return JSON.stringify([rule, venue, symbol, interval, window_start.toString(), event]);
}

/** Where the records are (`causes`) is no figure: a candle may be revised without a change of what was compared. */
function digestOf({ severity, figures, baseline, rule_version }: Facts): string {
  const text = JSON.stringify([
    severity,
    rule_version.toString(),
    figures.map(({ name, value, limit }) => [name, value, limit]),
    baseline.map(String),
  ]);
  return createHash('sha256').update(text).digest('base64url').slice(0, 22);
}
