import { MillraceError } from '../base/errors.ts';
import { HEADER_BYTES } from './decoder.ts';
import type { Schemas } from './schemas.ts';
import { type AvroType, avroType } from './types.ts';

const INITIAL_BYTES = 4 * 1024;

/** Encodes values in the registry's wire format: a zero byte, the schema id (4 bytes, big endian), Avro. */
export class AvroEncoder<T> {
  readonly schemaId: number;
  readonly #type: AvroType;
  /** Reused for every value; it starts with the header. */
  #scratch: Buffer;

  private constructor(schemaId: number, type: AvroType) {
    this.schemaId = schemaId;
    this.#type = type;
    this.#scratch = this.#header(INITIAL_BYTES);
  }

  /** Registers the schema under the subject. @throws MillraceError REGISTRY_UNREACHABLE, SCHEMA_INCOMPATIBLE */
  static async open<T>(schemas: Schemas, subject: string, schema: object): Promise<AvroEncoder<T>> {
    const type = avroType(schema);
    return new AvroEncoder<T>(await schemas.register(subject, schema), type);
  }

  /** @throws MillraceError ENCODE_FAILED naming the field whose value the schema does not allow. */
  encode(value: T): Buffer {
    let end: number;
    try {
      end = this.#type.encode(value, this.#scratch, HEADER_BYTES);
      if (end < 0) {
        // What is missing was counted: avsc goes on past the end without writing.
        this.#scratch = this.#header(this.#scratch.length - end);
        end = this.#type.encode(value, this.#scratch, HEADER_BYTES);
      }
    } catch (cause) {
      throw this.#invalid(value, cause);
    }
    return Buffer.from(this.#scratch.subarray(0, end));
  }

  #header(length: number): Buffer {
    const scratch = Buffer.alloc(length);
    scratch.writeInt32BE(this.schemaId, 1);
    return scratch;
  }

  #invalid(value: T, cause: unknown): MillraceError {
    const fields: string[] = [];
    this.#type.isValid(value, {
      errorHook: (path: string[], wrong: unknown) => fields.push(`${path.join('.')} = ${describe(wrong)}`),
    });
    return new MillraceError(
      'ENCODE_FAILED',
      `not a ${this.#type.name ?? 'value'}: ${fields.join(', ') || String(cause)}`,
      {
        cause,
      },
    );
  }
}

function describe(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return `${text.slice(0, 80)} (${value === null ? 'null' : typeof value})`;
}
