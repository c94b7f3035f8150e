/**
 * Decodes records in the registry's wire format: a zero byte, the schema id (4 bytes, big endian), Avro.
 *
 * One resolver per writer schema, made once: making it costs more than a thousand records. With a narrow reader schema all other
 * fields are skipped, not decoded.
 */
import { wallClock } from '../base/clock.ts';
import { isError, MillraceError, undefinedIfDeadLetter } from '../base/errors.ts';
import { mismatchOf, sharesName } from './compatibility.ts';
import { type Guard, guardOf } from './guard.ts';
import { defaultLagMs, type Schemas } from './schemas.ts';
import { type AvroType, avroType } from './types.ts';

export interface DecodeLimits {
  /** Longest record, bytes. */
  readonly maxBytes: number;
  /** Most items of all arrays and maps of a record together. */
  readonly maxItems: number;
}

export const decodeLimits: DecodeLimits = Object.freeze({ maxBytes: 8 * 1024 * 1024, maxItems: 100_000 });

const MAX_REFUSED = 10_000;

/** How long the answer that an id is unknown holds, milliseconds. */
const unknownTtlMs = 60_000;
/** Least patience, milliseconds: anything less becomes 0. */
const leastPatienceMs = 1_000;

/** Magic byte and schema id. */
export const HEADER_BYTES = 5;

type Resolver = ReturnType<AvroType['createResolver']>;

export interface DecoderOptions extends Partial<DecodeLimits> {
  /** The schema to read one writer by: `reader` with fields of the writer's own in it. Undefined reads by `reader` alone. */
  readonly extend?: (writer: object) => object | undefined;
}

interface Reader {
  /** As it was registered. */
  readonly writer: object;
  readonly type: AvroType;
  readonly resolver: Resolver | undefined;
  readonly guard: Guard | undefined;
}

/** By reader, then by writer: to make one costs as much as to decode some hundred records. */
const resolvers = new WeakMap<AvroType, WeakMap<AvroType, Resolver>>();

/** @throws Error when values of the writer cannot be read. */
function resolverOf(reader: AvroType, writer: AvroType): Resolver {
  const known = resolvers.get(reader) ?? new WeakMap<AvroType, Resolver>();
  resolvers.set(reader, known);
  const resolver = known.get(writer) ?? reader.createResolver(writer, { ignoreNamespaces: true });
  known.set(writer, resolver);
  return resolver;
}

/** An id that the registry does not know. Times are milliseconds of wall time. */
interface Unknown {
  readonly error: MillraceError;
  /** The registry may still get it, as of the last answer. */
  readonly pending: boolean;
  readonly pendingUntil: number;
  /** End of an answer that is not pending. */
  readonly expires: number;
}

/** The schema id that a record claims, or undefined when it has no header. */
export function schemaIdOf(value: Buffer): number | undefined {
  return value.length >= HEADER_BYTES && value[0] === 0 ? value.readInt32BE(1) : undefined;
}

export class AvroDecoder<T> {
  readonly #schemas: Schemas;
  readonly #reader: AvroType | undefined;
  readonly #limits: DecodeLimits;
  readonly #extend: DecoderOptions['extend'];
  /** By schema id. */
  readonly #readers = new Map<number, Reader>();
  /** What every record of a schema id gets that cannot be read. */
  readonly #refused = new Map<number, MillraceError>();
  readonly #unknown = new Map<number, Unknown>();
  /** How long the next unknown id is pending, milliseconds. */
  #patienceMs: number;

  /**
   * `reader` is the schema to read by, or null to read by each writer's own. Record names are matched without their namespaces, and
   * by aliases: Debezium puts the capture prefix and the table into its names.
   */
  constructor(schemas: Schemas, reader: object | null, options: DecoderOptions = {}) {
    const { extend, ...limits } = options;
    this.#schemas = schemas;
    this.#patienceMs = schemas.lagMs ?? defaultLagMs;
    this.#reader = reader === null ? undefined : avroType(reader);
    this.#extend = extend;
    this.#limits = { ...decodeLimits, ...limits };
  }

  /**
   * The schema ids of these values to be given to `prepare`: usually none. Values without a header are left to `decode`.
   *
   * @param nowMs wall time: an answer that an id is unknown expires.
   */
  missing(values: Iterable<Buffer | null>, nowMs = wallClock.now()): number[] {
    const ids = new Set<number>();
    let last: number | undefined;
    for (const value of values) {
      if (value === null) continue;
      const id = schemaIdOf(value);
      if (id === undefined || id === last) continue;
      last = id;
      if (!this.#answered(id, nowMs)) ids.add(id);
    }
    return [...ids];
  }

  /**
   * Fetches schemas and makes their resolvers. An id whose schema is of another record is remembered: `decode` refuses its records. So is
   * an id that the registry does not know, for a minute; then it is asked again.
   *
   * @returns the ids that the registry does not know and may still get: ask again after a pause, unless `decode` may refuse their records.
   *   Each id is pending once, for the registry's lag. An id that never came halves the time of the next one; a schema that comes
   *   restores it. So invented ids hold a caller up for twice the lag at most.
   * @throws MillraceError REGISTRY_UNREACHABLE; SCHEMA_INCOMPATIBLE when a schema of the right record cannot be read by ours: every
   *   record written by it would be lost.
   */
  async prepare(ids: readonly number[], nowMs = wallClock.now()): Promise<readonly number[]> {
    // Poison can claim any id: forget them all rather than grow. The registry is asked again.
    if (this.#refused.size > MAX_REFUSED) this.#refused.clear();
    if (this.#unknown.size > MAX_REFUSED) this.#unknown.clear();
    const pending: number[] = [];
    for (const id of ids) {
      if (this.#answered(id, nowMs)) continue;
      const reader = await this.#open(id);
      if (!(reader instanceof MillraceError)) this.#opened(id, reader);
      else if (reader.code !== 'SCHEMA_UNKNOWN' || id < 1) this.#refused.set(id, reader);
      else if (this.#isPending(id, reader, nowMs)) pending.push(id);
    }
    return pending;
  }

  #answered(id: number, nowMs: number): boolean {
    if (this.#readers.has(id) || this.#refused.has(id)) return true;
    const unknown = this.#unknown.get(id);
    return unknown !== undefined && !unknown.pending && nowMs < unknown.expires;
  }

  #opened(id: number, reader: Reader): void {
    this.#readers.set(id, reader);
    this.#unknown.delete(id);
    this.#patienceMs = this.#schemas.lagMs ?? defaultLagMs;
  }

  /** Notes that the registry does not know the id. True while it may still get it. */
  #isPending(id: number, error: MillraceError, nowMs: number): boolean {
    const before = this.#unknown.get(id);
    const pendingUntil = before?.pendingUntil ?? nowMs + this.#patienceMs;
    const pending = nowMs < pendingUntil;
    if (before?.pending === true && !pending)
      this.#patienceMs = this.#patienceMs < 2 * leastPatienceMs ? 0 : this.#patienceMs / 2;
    this.#unknown.set(id, { error, pending, pendingUntil, expires: nowMs + unknownTtlMs });
    return pending;
  }

  /** The schema of an id that `prepare` has seen and whose records can be read. */
  writerOf(id: number): object | undefined {
    return this.#readers.get(id)?.writer;
  }

  /**
   * Decodes one record.
   *
   * @throws MillraceError to be dead-lettered: BAD_MAGIC, TOO_LARGE, BAD_AVRO (truncated, trailing bytes, impossible values),
   *   SCHEMA_UNKNOWN, SCHEMA_FOREIGN. Error when its schema was not prepared.
   */
  decode(value: Buffer): T {
    const id = schemaIdOf(value);
    if (id === undefined) throw badMagic(value);
    if (value.length > this.#limits.maxBytes) {
      throw new MillraceError(
        'TOO_LARGE',
        `a record of ${value.length} bytes; at most ${this.#limits.maxBytes} are decoded`,
      );
    }
    const reader = this.#readers.get(id);
    if (reader === undefined) {
      throw (
        this.#refused.get(id) ??
        this.#unknown.get(id)?.error ??
        new Error(`schema ${id} is not prepared: call prepare(missing(values)) before decode`)
      );
    }
    reader.guard?.check(value, HEADER_BYTES);
    let decoded: { readonly value: T; readonly offset: number };
    try {
      decoded = reader.type.decode(value, HEADER_BYTES, reader.resolver);
    } catch (cause) {
      throw new MillraceError('BAD_AVRO', `the record is not valid under schema ${id}: ${messageOf(cause)}`, { cause });
    }
    if (decoded.offset === -1) {
      throw new MillraceError('BAD_AVRO', `the record of ${value.length} bytes ends too early under schema ${id}`);
    }
    if (decoded.offset !== value.length) {
      throw new MillraceError(
        'BAD_AVRO',
        `${value.length - decoded.offset} bytes follow the record under schema ${id}`,
      );
    }
    return decoded.value;
  }

  /**
   * As `decode`, but undefined for what processors and sinks put aside as a dead letter, and for null: for those who look at a topic after them.
   *
   * @throws Error when its schema was not prepared.
   */
  decodeIfReadable(value: Buffer | null): T | undefined {
    return value === null ? undefined : undefinedIfDeadLetter(() => this.decode(value));
  }

  async #open(id: number): Promise<Reader | MillraceError> {
    // Registries count from 1: asking for another id could only get an answer of a kind that nobody specified.
    if (id < 1) return new MillraceError('SCHEMA_UNKNOWN', `${id} is no schema id`);
    let schema: object;
    try {
      schema = await this.#schemas.byId(id);
    } catch (error) {
      if (isError(error, 'SCHEMA_UNKNOWN') || isError(error, 'SCHEMA_FOREIGN')) return error;
      throw error;
    }
    let writer: AvroType;
    try {
      writer = avroType(schema);
    } catch (cause) {
      throw new MillraceError('SCHEMA_INCOMPATIBLE', `schema ${id} is no valid Avro schema: ${messageOf(cause)}`, {
        cause,
      });
    }
    const guard = guardOf(writer, this.#limits.maxItems);
    if (this.#reader === undefined) return { writer: schema, type: writer, resolver: undefined, guard };
    if (!sharesName(this.#reader, writer)) {
      return new MillraceError(
        'SCHEMA_FOREIGN',
        `schema ${id} is of ${nameOf(writer)}, not of ${nameOf(this.#reader)}`,
      );
    }
    try {
      const extended = this.#extend?.(schema);
      const type = extended === undefined ? this.#reader : avroType(extended);
      return { writer: schema, type, resolver: resolverOf(type, writer), guard };
    } catch (cause) {
      throw new MillraceError(
        'SCHEMA_INCOMPATIBLE',
        `schema ${id} (${nameOf(writer)}) cannot be read as ${nameOf(this.#reader)}: ${mismatchOf(this.#reader, writer) ?? messageOf(cause)}`,
        {
          cause,
          remedy: 'Undo the change of the source table, or deploy a version that knows it; nothing was skipped.',
        },
      );
    }
  }
}

function nameOf(type: AvroType): string {
  return type.name ?? type.typeName;
}

function badMagic(value: Buffer): MillraceError {
  const start = value.subarray(0, HEADER_BYTES).toString('hex');
  return new MillraceError('BAD_MAGIC', `the record is not in the registry's wire format: it begins with 0x${start}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
