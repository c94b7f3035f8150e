import { MillraceError } from '../../base/errors.ts';
import type { Schemas } from '../schemas.ts';

/** One object per text for all instances, so that its type is compiled once. As many as a process knows schemas. */
const parsed = new Map<string, object>();

/** Schemas without a registry: ids count up from 1 in the order of registration. Does not check compatibility. */
export class MemorySchemas implements Schemas {
  readonly lagMs = 0;
  readonly #ids = new Map<string, number>();
  readonly #schemas: object[] = [];

  async register(_subject: string, schema: object): Promise<number> {
    const text = JSON.stringify(schema);
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    const own = parsed.get(text) ?? (JSON.parse(text) as object);
    parsed.set(text, own);
    const id = this.#schemas.push(own);
    this.#ids.set(text, id);
    return id;
  }

  async byId(id: number): Promise<object> {
    const schema = this.#schemas[id - 1];
    if (schema === undefined) throw new MillraceError('SCHEMA_UNKNOWN', `no schema has the id ${id}`);
    return schema;
  }
}
