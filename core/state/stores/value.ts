import { createHash } from 'node:crypto';
import { type AvroType, avroType } from '../../avro/types.ts';
import { MillraceError } from '../../base/errors.ts';
import type { StoreDefinition } from '../../processor/define.ts';

/**
 * How one value of a store is written, in the changelog, on disk and in snapshots alike:
 *
 * ```
 * 2 | flags | version, 2 bytes | schema fingerprint, 4 bytes | set time, 8 bytes, if flags & 1 | Avro
 * ```
 *
 * Set time is the log time of the last `set`, microseconds; only stores with a time to live have it. Format 1, the first release's, is the byte 1
 * and the Avro value: schema version 1, no fingerprint.
 */
const format = 2;
const firstFormat = 1;
const hasSetTime = 1;
const headerBytes = 8;

export interface Stored<V> {
  readonly value: V;
  /** Microseconds of log time; undefined where none was written. */
  readonly setAt: bigint | undefined;
}

interface Header {
  readonly version: number;
  /** Undefined in format 1. */
  readonly fingerprint: number | undefined;
  readonly setAt: bigint | undefined;
  /** Where the Avro value begins. */
  readonly body: number;
}

interface Reader {
  readonly type: AvroType;
  readonly fingerprint: number;
  /** From this version to the next one; absent for the current version. */
  readonly migrate?: (old: unknown) => unknown;
}

/** Encodes and decodes the values of one store; values of earlier versions go through the migrations that the store declares. */
export class ValueCodec<V> {
  readonly store: string;
  readonly version: number;
  readonly schema: object;
  readonly #type: AvroType;
  readonly #fingerprint: number;
  readonly #readers = new Map<number, Reader>();
  #scratch = Buffer.allocUnsafeSlow(4096);

  constructor({ name, schema, version = 1, migrations = {} }: StoreDefinition<never>) {
    if (!Number.isInteger(version) || version < 1 || version > 0xffff) {
      throw new TypeError(`store ${name}: a version is an integer from 1 to 65535, not ${version}`);
    }
    this.store = name;
    this.version = version;
    this.schema = schema;
    this.#type = avroType(schema);
    this.#fingerprint = fingerprintOf(schema);
    this.#readers.set(version, { type: this.#type, fingerprint: this.#fingerprint });
    for (const [from, migration] of Object.entries(migrations)) {
      if (Number(from) >= version) throw new TypeError(`store ${name}: a migration from ${from}, which is not earlier`);
      this.#readers.set(Number(from), {
        type: avroType(migration.schema),
        fingerprint: fingerprintOf(migration.schema),
        migrate: migration.migrate,
      });
    }
  }

  /** What values are written as: changes when a copy of older values must not be used as it is. */
  get signature(): string {
    return `${this.version}:${this.#fingerprint.toString(16)}`;
  }

  /** @throws MillraceError ENCODE_FAILED for a value that is not of the schema. */
  encode(key: string, value: V, setAt?: bigint): Buffer {
    const body = setAt === undefined ? headerBytes : headerBytes + 8;
    let scratch = this.#scratch;
    let end: number;
    try {
      end = this.#type.encode(value, scratch, body);
      if (end < 0) {
        scratch = Buffer.allocUnsafeSlow(2 * (scratch.length - end));
        this.#scratch = scratch;
        end = this.#type.encode(value, scratch, body);
      }
    } catch (cause) {
      throw new MillraceError('ENCODE_FAILED', `store ${this.store}, key ${JSON.stringify(key)}: ${messageOf(cause)}`, {
        cause,
        remedy: 'the fold has set a value that is not of the store’s schema: correct one of the two',
      });
    }
    scratch[0] = format;
    scratch[1] = setAt === undefined ? 0 : hasSetTime;
    scratch.writeUInt16BE(this.version, 2);
    scratch.writeUInt32BE(this.#fingerprint, 4);
    if (setAt !== undefined) scratch.writeBigInt64BE(setAt, headerBytes);
    return Buffer.from(scratch.subarray(0, end));
  }

  /** @throws MillraceError STATE_VERSION, STATE_CORRUPT */
  decode(key: string, bytes: Buffer): Stored<V> {
    const { version, setAt, body } = this.check(key, bytes);
    let value: unknown;
    try {
      value = this.#read(this.#reader(version), bytes, body);
    } catch (cause) {
      throw this.#corrupt(key, messageOf(cause), cause);
    }
    try {
      for (let at = version; at < this.version; at++) value = this.#reader(at).migrate?.(value);
    } catch (cause) {
      throw new MillraceError(
        'STATE_VERSION',
        `store ${this.store}, key ${JSON.stringify(key)}: its migration from version ${version} failed: ${messageOf(cause)}`,
        { cause, remedy: 'correct the migration; nothing has been changed' },
      );
    }
    return { value: value as V, setAt };
  }

  /** Checks that the value can be decoded, as far as its header tells. @throws MillraceError STATE_VERSION, STATE_CORRUPT */
  check(key: string, bytes: Buffer): Header {
    const header = headerOf(bytes);
    if (header === undefined) throw this.#corrupt(key, `format ${bytes[0]}, which this release does not read`);
    const { version, fingerprint } = header;
    for (let at = version; at < this.version; at++) {
      if (!this.#readers.has(at)) throw this.#refused(version, `there is no migration from version ${at}`);
    }
    if (version > this.version) throw this.#refused(version, 'an older release must not read it');
    if (fingerprint !== undefined && fingerprint !== this.#reader(version).fingerprint) {
      throw this.#refused(version, 'it was written with another schema under the same version');
    }
    return header;
  }

  /** The same value with a set time: a value that was written before its store had a time to live gets the one of its record. */
  timed(key: string, bytes: Buffer, writtenAt: bigint): Buffer {
    if (this.check(key, bytes).setAt !== undefined) return bytes;
    return this.encode(key, this.decode(key, bytes).value, writtenAt);
  }

  #read(reader: Reader, bytes: Buffer, body: number): unknown {
    const { value, offset } = reader.type.decode(bytes, body) as { value: unknown; offset: number };
    if (offset !== bytes.length)
      throw new Error(offset < 0 ? 'it is cut short' : `${bytes.length - offset} bytes too many`);
    return value;
  }

  #reader(version: number): Reader {
    return this.#readers.get(version) as Reader;
  }

  #refused(version: number, why: string): MillraceError {
    return new MillraceError(
      'STATE_VERSION',
      `store ${this.store}: there is state of version ${version}, and this release has version ${this.version}: ${why}`,
      { remedy: 'declare the migration, run the release that wrote the state, or rebuild it by replaying the input' },
    );
  }

  #corrupt(key: string, why: string, cause?: unknown): MillraceError {
    return corruptState(`${this.store} ${JSON.stringify(key)}`, why, cause);
  }
}

/** Undefined for a format that this release does not know. */
export function headerOf(bytes: Buffer): Header | undefined {
  if (bytes[0] === firstFormat) return { version: 1, fingerprint: undefined, setAt: undefined, body: 1 };
  if (bytes[0] !== format || bytes.length < headerBytes) return undefined;
  const timed = ((bytes[1] as number) & hasSetTime) !== 0;
  if (timed && bytes.length < headerBytes + 8) return undefined;
  return {
    version: bytes.readUInt16BE(2),
    fingerprint: bytes.readUInt32BE(4),
    setAt: timed ? bytes.readBigInt64BE(headerBytes) : undefined,
    body: timed ? headerBytes + 8 : headerBytes,
  };
}

export function corruptState(what: string, why: string, cause?: unknown): MillraceError {
  return new MillraceError('STATE_CORRUPT', `state ${what}: ${why}`, {
    cause,
    remedy: 'run the version that wrote it, or drop the changelog and rebuild the state by replaying the input',
  });
}

/** Of the schema without what does not change the bytes or their meaning. */
function fingerprintOf(schema: object): number {
  return createHash('md5')
    .update(JSON.stringify(canonical(schema)))
    .digest()
    .readUInt32BE(0);
}

const irrelevant = new Set(['doc', 'default', 'aliases', 'order']);

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([name]) => !irrelevant.has(name));
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, each]) => [name, canonical(each)]),
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
