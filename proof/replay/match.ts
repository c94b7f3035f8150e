import { AvroDecoder, HEADER_BYTES, schemaIdOf } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { LogRecord, OutRecord } from '../../core/log/log.ts';
import type { Differences } from '../report/report.ts';
import { differences, plain } from './values.ts';

/** A published record, or one that the replay produces. */
type Side = Pick<LogRecord, 'key' | 'value' | 'timestamp'>;

/** The compared part of a value. */
export type View = (value: object) => Promise<object>;

interface Given {
  readonly record: Side;
  /** Whether the compared range caused it. */
  readonly counts: boolean;
}

interface Published {
  readonly record: Side;
  readonly place: string;
  readonly counts: boolean;
}

/**
 * Compares one output's published records with those of a replay, key by key and in order for each key. Both sides come in the same order,
 * so few records wait for their counterpart. Records that still wait at the end are on one side only.
 */
export class Match {
  readonly topic: string;
  /** Compared records of the range, equal or not. */
  compared = 0;
  readonly #schemas: Schemas;
  readonly #differences: Differences;
  readonly #keys: AvroDecoder<object>;
  readonly #values: AvroDecoder<object>;
  readonly #own: string;
  readonly #view: View;
  readonly #given = new Map<string, Given[]>();
  readonly #published = new Map<string, Published[]>();
  /** Key: schema id of values. */
  readonly #equal = new Map<number, boolean>();

  constructor(
    topic: string,
    schemas: Schemas,
    contract: { readonly keySchema: object | null; readonly valueSchema: object },
    differences: Differences,
    view: View = async (value) => value,
  ) {
    this.topic = topic;
    this.#schemas = schemas;
    this.#differences = differences;
    this.#keys = new AvroDecoder<object>(schemas, contract.keySchema);
    this.#values = new AvroDecoder<object>(schemas, contract.valueSchema);
    this.#own = JSON.stringify(contract.valueSchema);
    this.#view = view;
  }

  async give({ key, value, timestamp }: OutRecord, counts: boolean): Promise<void> {
    const record = { key, value, timestamp };
    const id = await this.#identity(record);
    const waiting = take(this.#published, id);
    if (waiting === undefined) put(this.#given, id, { record, counts });
    else await this.#compare({ record, counts }, waiting);
  }

  /** @param counts whether it may belong to the range: true between the range's first and last replayed record */
  async publish(record: LogRecord, place: string, counts: boolean): Promise<void> {
    const id = await this.#identity(record);
    const published = { record, place, counts };
    const waiting = take(this.#given, id);
    if (waiting === undefined) put(this.#published, id, published);
    else await this.#compare(waiting, published);
  }

  /** Reports the records without a counterpart. */
  async finish(): Promise<void> {
    for (const waiting of this.#given.values()) {
      for (const { record, counts } of waiting) {
        if (counts)
          this.#differences.add(`${this.topic} ${await this.#name(record)}: the replay gives it, it was not published`);
      }
    }
    for (const waiting of this.#published.values()) {
      for (const { record, place, counts } of waiting) {
        if (counts)
          this.#differences.add(`${place} ${await this.#name(record)}: published, the replay does not give it`);
      }
    }
  }

  async #compare({ record: given, counts }: Given, { record: published, place }: Published): Promise<void> {
    if (!counts) return;
    this.compared++;
    const differing: string[] = [];
    if (given.timestamp !== published.timestamp) {
      differing.push(`its timestamp was ${published.timestamp}, replayed ${given.timestamp}`);
    }
    if (!(await this.#sameBytes(given.value, published.value))) {
      const [then, now] = [await this.#value(published.value), await this.#value(given.value)];
      for (const field of differences(then, now)) differing.push(field);
    }
    if (differing.length > 0) this.#differences.add(`${place} ${await this.#name(published)}: ${differing.join('; ')}`);
  }

  /** Identifies counterparts: records of one key or, without keys, of equal values. */
  async #identity({ key, value }: Side): Promise<string> {
    if (key === null) return `=${plain(await this.#value(value))}`;
    return plain(await this.#decode(this.#keys, key));
  }

  async #sameBytes(a: Buffer | null, b: Buffer | null): Promise<boolean> {
    if (a === null || b === null) return a === b;
    if (!(await this.#isOwn(a)) || !(await this.#isOwn(b))) return false;
    return a.subarray(HEADER_BYTES).equals(b.subarray(HEADER_BYTES));
  }

  /** Whether the replay's own schema wrote the bytes: then equal values have equal bytes. */
  async #isOwn(bytes: Buffer): Promise<boolean> {
    const id = schemaIdOf(bytes);
    if (id === undefined) return false;
    const known = this.#equal.get(id);
    if (known !== undefined) return known;
    const schema = await this.#schemas.byId(id);
    const equal = JSON.stringify(schema) === this.#own;
    this.#equal.set(id, equal);
    return equal;
  }

  async #value(bytes: Buffer | null): Promise<unknown> {
    return bytes === null ? null : await this.#view(await this.#decode(this.#values, bytes));
  }

  async #name({ key, value }: Side): Promise<string> {
    if (key !== null) return plain(await this.#decode(this.#keys, key));
    const decoded = (await this.#value(value)) as { readonly origin?: unknown } | null;
    return plain(decoded?.origin ?? decoded);
  }

  async #decode(decoder: AvroDecoder<object>, bytes: Buffer): Promise<object> {
    const missing = decoder.missing([bytes]);
    if (missing.length > 0) await decoder.prepare(missing);
    return decoder.decode(bytes);
  }
}

function put<T>(map: Map<string, T[]>, id: string, value: T): void {
  const waiting = map.get(id);
  if (waiting === undefined) map.set(id, [value]);
  else waiting.push(value);
}

function take<T>(map: Map<string, T[]>, id: string): T | undefined {
  const waiting = map.get(id);
  const first = waiting?.shift();
  if (waiting?.length === 0) map.delete(id);
  return first;
}
