import { createHash } from 'node:crypto';
import type { Context, Store } from '../../core/processor/define.ts';
import type { Anomaly } from '../../schemas/gen/anomaly.ts';
import type { AnomalyKey } from '../../schemas/gen/anomaly_key.ts';
import type { PublishedAnomaly } from './state.ts';

/** All fields of an anomaly except status and revision. */
export type Facts = Omit<Anomaly, 'status' | 'revision'>;

/**
 * Life cycle of anomalies: RAISED, REVISED when the figures change, RETRACTED when the verdict changes, then RAISED again. Revisions
 * strictly increase. An unchanged anomaly is not published again.
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

  /** Publishes a rule's present verdict if it differs from the last one. `facts` is called only for a verdict that fires or retracts. */
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

  /** Deletes the state of an anomaly that can have no more revisions. */
  forget(key: AnomalyKey): void {
    this.#said.delete(saidKey(key));
  }
}

function saidKey({ rule, venue, symbol, interval, window_start, event }: AnomalyKey): string {
  return JSON.stringify([rule, venue, symbol, interval, window_start.toString(), event]);
}

/** The places of the records (`causes`) are not part of the digest: a candle may be revised without a change of the compared values. */
function digestOf({ severity, figures, baseline, rule_version }: Facts): string {
  const text = JSON.stringify([
    severity,
    rule_version.toString(),
    figures.map(({ name, value, limit }) => [name, value, limit]),
    baseline.map(String),
  ]);
  return createHash('sha256').update(text).digest('base64url').slice(0, 22);
}
