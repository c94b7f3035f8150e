/**
 * Avro types as Millrace reads and writes them: every `long` (timestamps too) is a `bigint`, and a `decimal` is a `bigint` of
 * unscaled units.
 *
 * avsc offers `LongType.__with` for other longs, but that way copies eight bytes per long; `_read` and `_write` of longs, decimals,
 * strings and maps are overridden here to work on the buffer itself. avsc is pinned exactly because of it.
 */
import avro from 'avsc';
import { readText, type Utf8Buffer } from './strings.ts';

/** What avsc reads from and writes to. Reading past the end is allowed and seen afterwards: `pos` is then beyond the buffer. */
interface Tap {
  readonly buf: Utf8Buffer;
  pos: number;
  readLong(): number;
  writeLong(value: number): void;
  writeFixed(bytes: Buffer, length: number): void;
}

export type AvroType = avro.Type;

const MAX_LONG = 2n ** 63n - 1n;
const MIN_LONG = -(2n ** 63n);
/** Within these bounds avsc's own arithmetic in doubles is exact: it doubles the value. */
const EXACT = 2n ** 51n;
const TWO_28 = 2 ** 28;

function isLong(value: unknown): value is bigint {
  return typeof value === 'bigint' && value <= MAX_LONG && value >= MIN_LONG;
}

function readLong(tap: Tap): bigint {
  const buf = tap.buf;
  let pos = tap.pos;
  let byte = 0;
  let low = 0;
  let shift = 0;
  do {
    byte = buf[pos++] ?? 0;
    low |= (byte & 0x7f) << shift;
    shift += 7;
  } while (byte & 0x80 && shift < 28);
  if (!(byte & 0x80)) {
    tap.pos = pos;
    return BigInt((low >>> 1) ^ -(low & 1));
  }
  let middle = 0;
  shift = 0;
  do {
    byte = buf[pos++] ?? 0;
    middle |= (byte & 0x7f) << shift;
    shift += 7;
  } while (byte & 0x80 && shift < 28);
  let high = 0;
  if (byte & 0x80) {
    byte = buf[pos++] ?? 0;
    high = byte & 0x7f;
    if (byte & 0x80) {
      byte = buf[pos++] ?? 0;
      if (byte > 1) throw new Error('a long has more than 64 bits');
      high |= byte << 7;
    }
  }
  tap.pos = pos;
  if (high === 0 && middle < 0x1000000) {
    const zigzag = low + middle * TWO_28;
    return BigInt(zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2);
  }
  const zigzag = BigInt(low + (middle & 0xffffff) * TWO_28) | (BigInt(((middle >>> 24) & 0xf) + high * 16) << 52n);
  return (zigzag >> 1n) ^ -(zigzag & 1n);
}

function writeLong(this: unknown, tap: Tap, value: unknown): void {
  if (!isLong(value)) throw new TypeError(`not a 64-bit bigint: ${String(value)}`);
  if (value > -EXACT && value < EXACT) {
    tap.writeLong(Number(value));
    return;
  }
  let zigzag = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  const { buf } = tap;
  while (zigzag > 0x7fn) {
    buf[tap.pos++] = Number(zigzag & 0x7fn) | 0x80;
    zigzag >>= 7n;
  }
  buf[tap.pos++] = Number(zigzag);
}

const bigintLong: avro.Type = Object.create(
  avro.types.LongType.__with({
    fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
    toBuffer: (value: bigint) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(value);
      return bytes;
    },
    // Used for defaults only, which JSON holds as numbers.
    fromJSON: (value: number) => BigInt(value),
    toJSON: (value: bigint) => Number(value),
    isValid: isLong,
    compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
  }),
  { _read: { value: readLong }, _write: { value: writeLong } },
) as avro.Type;

function readString(tap: Tap): string {
  const length = tap.readLong();
  if (length < 0) throw new Error('a string of negative length');
  const from = tap.pos;
  tap.pos = from + length;
  // Reading past the end is found by the caller: any value will do.
  return tap.pos > tap.buf.length ? '' : readText(tap.buf, from, tap.pos);
}

const cachedString: avro.Type = Object.create(avro.Type.forSchema('string'), {
  _read: { value: readString },
}) as avro.Type;

/** Avro `map` as an object that has every key the map had: one of `__proto__` would change avsc's own instead of being in it. */
class MapType extends avro.types.MapType {
  _read(tap: Tap): object {
    const values = this.valuesType as { _read(tap: Tap): unknown };
    const entries: [string, unknown][] = [];
    for (let count = tap.readLong(); count !== 0; count = tap.readLong()) {
      // A negative count is followed by the length of its block in bytes, for readers that skip it.
      if (count < 0) tap.readLong();
      for (let left = Math.abs(count); left > 0; left--) entries.push([readString(tap), values._read(tap)]);
    }
    return Object.fromEntries(entries);
  }
}

const scratch = Buffer.alloc(8);

/** Avro `decimal` over `bytes`: a `bigint` of unscaled units, refused in both directions beyond the precision. */
class DecimalType extends avro.types.LogicalType {
  readonly precision: number;
  readonly scale: number;
  readonly #bound: bigint;
  /** Longest encoding that is taken: the precision's own, with room for writers that pad. */
  readonly #maxLength: number;

  constructor(schema: avro.Type | object, options?: unknown) {
    super(schema as never, options);
    const { precision, scale = 0 } = schema as { precision?: unknown; scale?: unknown };
    // An invalid decimal is read as its bytes, as Avro's specification has it: avsc falls back when this throws.
    if (!isCount(precision) || !isCount(scale) || precision < 1 || precision > 1_000 || scale > precision) {
      throw new Error(`invalid decimal: precision ${String(precision)}, scale ${String(scale)}`);
    }
    if (!avro.Type.isType(this.underlyingType, 'bytes')) throw new Error('only decimals over bytes are supported');
    this.precision = precision;
    this.scale = scale;
    this.#bound = 10n ** BigInt(precision);
    this.#maxLength = Math.ceil((precision * 3.322) / 8) + 16;
  }

  _read(tap: Tap): bigint {
    const length = tap.readLong();
    const { buf, pos } = tap;
    if (length < 1 || length > this.#maxLength) throw new Error(`a decimal of ${length} bytes`);
    tap.pos = pos + length;
    // Reading past the end is found by the caller: any value will do.
    if (tap.pos > buf.length) return 0n;
    const value = fromTwosComplement(buf, pos, length);
    if (value >= this.#bound || value <= -this.#bound)
      throw new Error(`a decimal of more than ${this.precision} digits`);
    return value;
  }

  _write(tap: Tap, value: unknown): void {
    if (!this.#isValid(value)) throw new TypeError(`not a decimal(${this.precision},${this.scale}): ${String(value)}`);
    if (value >= -0x800000000000n && value <= 0x7fffffffffffn) {
      const small = Number(value);
      let length = 1;
      let limit = 0x80;
      while (small < -limit || small >= limit) {
        limit *= 0x100;
        length++;
      }
      scratch.writeIntBE(small, 0, length);
      tap.writeLong(length);
      tap.writeFixed(scratch, length);
    } else {
      const bytes = twosComplement(value);
      tap.writeLong(bytes.length);
      tap.writeFixed(bytes, bytes.length);
    }
  }

  _check(value: unknown, _flags: unknown, hook?: (value: unknown, type: unknown) => void): boolean {
    const valid = this.#isValid(value);
    if (!valid) hook?.(value, this);
    return valid;
  }

  override _fromValue(bytes: Buffer): bigint {
    return unitsOf(bytes);
  }

  override _toValue(value: unknown): Buffer | undefined {
    return this.#isValid(value) ? twosComplement(value) : undefined;
  }

  /** Reads another decimal only at the same scale: anything else would change the number. */
  override _resolve(writer: unknown): ((value: bigint) => bigint) | undefined {
    if (!(writer instanceof DecimalType) || writer.scale !== this.scale) return undefined;
    if (writer.precision <= this.precision) return (value) => value;
    return (value) => {
      if (!this.#isValid(value)) throw new Error(`a decimal of more than ${this.precision} digits`);
      return value;
    };
  }

  override _export(schema: unknown): void {
    Object.assign(schema as object, { precision: this.precision, scale: this.scale });
  }

  #isValid(value: unknown): value is bigint {
    return typeof value === 'bigint' && value < this.#bound && value > -this.#bound;
  }
}

/** Also refuses to read a decimal of more digits, some of whose values it could not hold. */
class ExactDecimalType extends DecimalType {
  override _resolve(writer: unknown): ((value: bigint) => bigint) | undefined {
    return writer instanceof DecimalType && writer.precision <= this.precision ? super._resolve(writer) : undefined;
  }
}

function fromTwosComplement(bytes: Buffer, pos: number, length: number): bigint {
  if (length <= 6) return BigInt(bytes.readIntBE(pos, length));
  if (length <= 8) {
    return (BigInt(bytes.readIntBE(pos, length - 4)) << 32n) | BigInt(bytes.readUInt32BE(pos + length - 4));
  }
  return BigInt.asIntN(length * 8, BigInt(`0x${bytes.toString('hex', pos, pos + length)}`));
}

/** Units of a two's complement, big endian; none is 0. */
export function unitsOf(bytes: Buffer): bigint {
  return bytes.length === 0 ? 0n : fromTwosComplement(bytes, 0, bytes.length);
}

/** The shortest two's complement, at least one byte: what Java's BigInteger writes. */
export function twosComplement(value: bigint): Buffer {
  const magnitude = value < 0n ? -value - 1n : value;
  const length = magnitude === 0n ? 1 : Math.floor(magnitude.toString(16).length / 2) + 1;
  const bytes = Buffer.from(
    BigInt.asUintN(length * 8, value)
      .toString(16)
      .padStart(length * 2, '0'),
    'hex',
  );
  const [first = 0, second = 0] = bytes;
  const padded = length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
  return padded ? bytes.subarray(1) : bytes;
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

/** The type that stands for one of avsc's own. */
function replacement(schema: unknown, options: unknown): avro.Type | undefined {
  const type = typeof schema === 'object' && schema !== null ? (schema as { type?: unknown }).type : schema;
  if (type === 'map') return new MapType(schema as never, options) as avro.Type;
  if (type === 'long') return bigintLong;
  return type === 'string' ? cachedString : undefined;
}

export interface AvroTypeOptions {
  /** A decimal of more digits does not resolve. By default it does, and values that are too great are refused. */
  readonly exactDecimals?: boolean;
}

/** Types by schema object: to compile one costs as much as to decode some hundred records. */
const compiled = { usual: new WeakMap<object, AvroType>(), exact: new WeakMap<object, AvroType>() };

/**
 * The type of a schema. An object is compiled once: do not change it afterwards.
 *
 * @throws Error when it is no valid Avro schema.
 */
export function avroType(schema: object | string, options: AvroTypeOptions = {}): AvroType {
  const exact = options.exactDecimals === true;
  if (typeof schema === 'string') return compile(schema, exact);
  const known = exact ? compiled.exact : compiled.usual;
  const type = known.get(schema) ?? compile(schema, exact);
  known.set(schema, type);
  return type;
}

function compile(schema: object | string, exact: boolean): AvroType {
  return avro.Type.forSchema(schema as never, {
    logicalTypes: { decimal: (exact ? ExactDecimalType : DecimalType) as never },
    typeHook: replacement,
    omitRecordMethods: true,
  });
}
