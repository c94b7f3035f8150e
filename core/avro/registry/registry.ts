/**
 * The schema registry, through its Confluent-compatible API.
 *
 * Registration goes through @kafkajs/confluent-schema-registry. Everything else is a REST call of ours, because that client has none
 * for it: it gives schemas only as parsed types without their attributes (`byId` needs the text), it cannot ask whether a schema
 * would be compatible, and it sets the compatibility level only of a subject that it registers. It also reports a refused
 * connection as status 400 and knows no timeout: both are put right here.
 */
import { ExponentialBackoff, handleWhen, retry, TaskCancelledError, TimeoutStrategy, timeout } from 'cockatiel';
import { isError, MillraceError } from '../../base/errors.ts';
import { breakOf } from '../compatibility.ts';
import { defaultLagMs, type Schemas } from '../schemas.ts';

export type Compatibility = 'NONE' | 'BACKWARD' | 'BACKWARD_TRANSITIVE' | 'FORWARD' | 'FULL' | 'FULL_TRANSITIVE';

export interface RegistryOptions {
  /** Base URL. Without a path it is an Apicurio Registry, whose Confluent-compatible API is under /apis/ccompat/v7. */
  readonly url: string;
  /** Longest wait for one answer, milliseconds. Default 5000. */
  readonly timeoutMs?: number;
  /** See `Schemas`. Default 60,000; 0 for work that reads history, which no wait helps. */
  readonly lagMs?: number;
  /** Tries of each call before REGISTRY_UNREACHABLE. Default 3. */
  readonly attempts?: number;
  readonly signal?: AbortSignal;
}

export interface Check {
  readonly subject: string;
  /** `new`: no such subject yet. `same`: registered as it is. `compatible`: a new version is allowed. `incompatible`: it is not. */
  readonly state: 'new' | 'same' | 'compatible' | 'incompatible';
  /** Id of the registered schema when it is the same. */
  readonly id?: number;
  /** Why it is incompatible. */
  readonly reason?: string;
}

export interface Version {
  readonly id: number;
  /** Counts from 1 within the subject. */
  readonly version: number;
  readonly schema: object;
}

interface Answer {
  readonly status: number;
  readonly body: { readonly error_code?: number; readonly message?: string } & Record<string, unknown>;
}

/** A Confluent-compatible schema registry: what writes asks it for ids, what reads asks it for schemas. */
export class Registry implements Schemas, AsyncDisposable {
  readonly lagMs: number;
  readonly #base: string;
  readonly #timeoutMs: number;
  readonly #closing = new AbortController();
  readonly #signal: AbortSignal;
  readonly #policy: { execute<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> };
  readonly #byId = new Map<number, object>();
  #client: Promise<import('@kafkajs/confluent-schema-registry').SchemaRegistry> | undefined;

  constructor(options: RegistryOptions) {
    const url = new URL(options.url);
    if (url.pathname === '/') url.pathname = '/apis/ccompat/v7';
    this.#base = url.href.replace(/\/$/, '');
    this.lagMs = options.lagMs ?? defaultLagMs;
    this.#timeoutMs = options.timeoutMs ?? 5_000;
    this.#signal = AbortSignal.any([this.#closing.signal, ...(options.signal === undefined ? [] : [options.signal])]);
    this.#policy = retry(
      handleWhen((error) => isError(error, 'REGISTRY_UNREACHABLE')),
      {
        maxAttempts: (options.attempts ?? 3) - 1,
        backoff: new ExponentialBackoff({ initialDelay: 100, maxDelay: 2_000 }),
      },
    );
  }

  async register(subject: string, schema: object): Promise<number> {
    let mismatches = 0;
    return this.#policy.execute(async () => {
      const client = await this.#registering();
      const { COMPATIBILITY, SchemaType } = await import('@kafkajs/confluent-schema-registry');
      try {
        const { id } = await timeout(this.#timeoutMs, TimeoutStrategy.Aggressive).execute(
          () =>
            client.register(
              { type: SchemaType.AVRO, schema: JSON.stringify(schema) },
              { subject, compatibility: COMPATIBILITY.BACKWARD },
            ),
          this.#signal,
        );
        return id;
      } catch (error) {
        // Between the first version of a subject and its level, which another process is setting, the level reads NONE.
        if (isLevelMismatch(error) && ++mismatches < 3) {
          // Still so at the second look: whoever registered the first version died before it set the level.
          if (mismatches === 2 && /NONE/.test((error as Error).message))
            await this.setCompatibility('BACKWARD', subject);
          throw this.#unreachable(error);
        }
        throw this.#registrationError(subject, error);
      }
    }, this.#signal);
  }

  async byId(id: number): Promise<object> {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const { status, body } = await this.#call('GET', `/schemas/ids/${id}`);
    if (status === 404 && body.error_code === 40403) {
      throw new MillraceError('SCHEMA_UNKNOWN', `the registry has no schema with the id ${id}`);
    }
    if (status !== 200) throw this.#unexpected(`schema ${id}`, status, body);
    if ((body['schemaType'] ?? 'AVRO') !== 'AVRO') {
      throw new MillraceError('SCHEMA_FOREIGN', `schema ${id} is ${String(body['schemaType'])}, not Avro`);
    }
    const schema = parseSchema(body['schema']);
    this.#byId.set(id, schema);
    return schema;
  }

  /** The newest version of a subject, or undefined when there is none. @throws MillraceError REGISTRY_UNREACHABLE */
  async latest(subject: string): Promise<Version | undefined> {
    const { status, body } = await this.#call('GET', `/subjects/${encodeURIComponent(subject)}/versions/latest`);
    if (status === 404 && body.error_code !== undefined) return undefined;
    if (status !== 200) throw this.#unexpected(subject, status, body);
    return { id: Number(body['id']), version: Number(body['version']), schema: parseSchema(body['schema']) };
  }

  /**
   * What registering the schema under the subject would come to, without doing it. Backward compatibility is judged here too, so that
   * the answer does not depend on the registry's level: by default Apicurio's allows everything.
   */
  async check(subject: string, schema: object): Promise<Check> {
    const text = { schema: JSON.stringify(schema) };
    const path = encodeURIComponent(subject);
    const latest = await this.latest(subject);
    if (latest === undefined) return { subject, state: 'new' };
    const same = await this.#call('POST', `/subjects/${path}`, text);
    if (same.status === 200 && same.body['id'] === latest.id) {
      return { subject, state: 'same', id: Number(same.body['id']) };
    }
    const reason = breakOf(schema, latest.schema);
    if (reason !== undefined) return { subject, state: 'incompatible', reason };
    const asked = await this.#call('POST', `/compatibility/subjects/${path}/versions/latest`, text);
    if (asked.status !== 200) throw this.#unexpected(subject, asked.status, asked.body);
    if (asked.body['is_compatible'] !== true) {
      return { subject, state: 'incompatible', reason: "the registry's compatibility level refuses it" };
    }
    return { subject, state: 'compatible' };
  }

  /** Sets the level of one subject, or the level of all that have none of their own. */
  async setCompatibility(level: Compatibility, subject?: string): Promise<void> {
    const path = subject === undefined ? '/config' : `/config/${encodeURIComponent(subject)}`;
    let { status, body } = await this.#call('PUT', path, { compatibility: level });
    // Of several that set it for the first time at once, all but one are told that it is there: it can be changed now.
    if (status === 409) ({ status, body } = await this.#call('PUT', path, { compatibility: level }));
    if (status !== 200) throw this.#unexpected(path, status, body);
  }

  /** The level that holds for a subject: its own, or that of all. @throws MillraceError SCHEMA_MISSING for one that is not registered */
  async compatibility(subject: string): Promise<string> {
    const path = `/config/${encodeURIComponent(subject)}?defaultToGlobal=true`;
    const { status, body } = await this.#call('GET', path);
    if (status !== 200) throw this.#unexpected(path, status, body);
    return String(body['compatibilityLevel']);
  }

  /** Ends every call that is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new MillraceError('REGISTRY_UNREACHABLE', 'the registry client was closed'));
  }

  /** Loaded when first needed: decoding does without it, and it brings other formats' parsers along. */
  #registering(): Promise<import('@kafkajs/confluent-schema-registry').SchemaRegistry> {
    this.#client ??= import('@kafkajs/confluent-schema-registry').then(
      // Its own retries are off: they would multiply with ours.
      ({ SchemaRegistry }) => new SchemaRegistry({ host: this.#base, clientId: 'millrace', retry: { retries: 0 } }),
    );
    return this.#client;
  }

  async #call(method: 'GET' | 'POST' | 'PUT', path: string, body?: object): Promise<Answer> {
    return this.#policy.execute(async () => {
      try {
        const response = await fetch(this.#base + path, {
          method,
          signal: AbortSignal.any([this.#signal, AbortSignal.timeout(this.#timeoutMs)]),
          ...(body === undefined
            ? {}
            : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
        });
        const text = await response.text();
        // An answer that is not from the registry itself: a proxy's page, or a server that is still starting.
        if (response.status >= 500 || response.status === 429)
          throw new Error(`status ${response.status}: ${text.slice(0, 200)}`);
        return { status: response.status, body: JSON.parse(text) as Answer['body'] };
      } catch (cause) {
        this.#signal.throwIfAborted();
        throw this.#unreachable(cause);
      }
    }, this.#signal);
  }

  #registrationError(subject: string, error: unknown): unknown {
    this.#signal.throwIfAborted();
    if (error instanceof TaskCancelledError) return this.#unreachable(new Error(`no answer in ${this.#timeoutMs} ms`));
    const { status, message, url } = error as {
      readonly status?: number;
      readonly message?: string;
      readonly url?: string;
    };
    // The first to register a subject also sets its level; of several at once, all but one are told that it is set already.
    const isRace = status === 409 && url?.startsWith('put ') === true;
    const isRefusal = (status === 409 && !isRace) || status === 422 || status === undefined;
    // A connection error has status 400 and a text in place of the registry's JSON: it is no refusal either.
    if (!isRefusal) return this.#unreachable(error);
    return new MillraceError(
      'SCHEMA_INCOMPATIBLE',
      `the registry refuses the schema for ${subject}: ${message ?? String(error)}`,
      {
        cause: error,
        remedy: 'Compare with: millrace schemas check. A field that is new needs a default.',
      },
    );
  }

  #unreachable(cause: unknown): MillraceError {
    return new MillraceError(
      'REGISTRY_UNREACHABLE',
      `the schema registry at ${this.#base} does not answer: ${reasonOf(cause)}`,
      {
        cause,
        remedy: 'Start it (millrace up), or set the right address. Nothing is lost meanwhile.',
      },
    );
  }

  #unexpected(what: string, status: number, body: Answer['body']): MillraceError {
    const said = body.message ?? JSON.stringify(body);
    return new MillraceError(
      'REGISTRY_UNREACHABLE',
      `the registry at ${this.#base} answers ${status} for ${what}: ${said}`,
      {
        remedy: 'Is this the address of a Confluent-compatible registry?',
      },
    );
  }
}

/** Schemas are text in the API; the text of a primitive is a JSON string. */
function parseSchema(text: unknown): object {
  return JSON.parse(String(text)) as object;
}

function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const inner = cause.cause instanceof Error ? `: ${cause.cause.message}` : '';
  return cause.message + inner;
}

function isLevelMismatch(error: unknown): boolean {
  return error instanceof Error && error.name === 'ConfluentSchemaRegistryCompatibilityError';
}
