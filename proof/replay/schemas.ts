import type { Schemas } from '../../core/avro/schemas.ts';

/** First id of schemas that only this process knows. A registry counts from 1. */
const firstPrivateId = 1_500_000_000;

/** The registry's schemas, plus schemas of this process only: a replay registers nothing. */
export class PrivateSchemas implements Schemas {
  readonly lagMs = 0;
  readonly #inner: Schemas;
  readonly #first: number;
  readonly #own: object[] = [];

  /** @param first of its own ids; a nested instance needs another range */
  constructor(inner: Schemas, first = firstPrivateId) {
    this.#inner = inner;
    this.#first = first;
  }

  async register(_subject: string, schema: object): Promise<number> {
    const at = this.#own.indexOf(schema);
    return this.#first + (at >= 0 ? at : this.#own.push(schema) - 1);
  }

  async byId(id: number): Promise<object> {
    return this.#own[id - this.#first] ?? (await this.#inner.byId(id));
  }
}

/** The registry with the subjects of side topics in place of the topics' own: `market.candles.trial-value`. */
export class SideSchemas implements Schemas {
  readonly lagMs = 0;
  readonly #inner: Schemas;
  readonly #suffix: string;

  constructor(inner: Schemas, suffix: string) {
    this.#inner = inner;
    this.#suffix = suffix;
  }

  register(subject: string, schema: object): Promise<number> {
    return this.#inner.register(subject.replace(/-(key|value)$/, `.${this.#suffix}-$1`), schema);
  }

  byId(id: number): Promise<object> {
    return this.#inner.byId(id);
  }
}

export function sideTopic(topic: string, suffix: string): string {
  return `${topic}.${suffix}`;
}
