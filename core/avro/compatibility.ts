/**
 * Whether readers of one schema can read what was written by another, and if not, why.
 */
import avro from 'avsc';
import { type AvroType, avroType } from './types.ts';

/**
 * Why data written by `before` cannot be read by `after`, or undefined when it can: Avro's BACKWARD. Stricter than a registry about
 * names, and about decimals, whose scale and precision registries do not look at.
 */
export function breakOf(after: object, before: object): string | undefined {
  const reader = avroType(after, { exactDecimals: true });
  const writer = avroType(before, { exactDecimals: true });
  return resolves(reader, writer, false) ? undefined : describe(reader, writer, false);
}

/** Whether two named types are the same but for their namespaces; the reader's aliases count. */
export function sharesName(reader: AvroType, writer: AvroType): boolean {
  if (reader.name === undefined || writer.name === undefined) return reader.name === writer.name;
  const wanted = unqualified(writer.name);
  return [reader.name, ...(reader.aliases ?? [])].some((name) => unqualified(name) === wanted);
}

/** Why `reader` cannot read `writer`, namespaces aside, or undefined when it can. */
export function mismatchOf(reader: AvroType, writer: AvroType): string | undefined {
  return resolves(reader, writer, true) ? undefined : describe(reader, writer, true);
}

/** The first thing that does not resolve, with its path: avsc names only the outermost types. */
function describe(reader: AvroType, writer: AvroType, ignoreNamespaces: boolean, path = ''): string {
  if (reader instanceof avro.types.RecordType && writer instanceof avro.types.RecordType) {
    for (const field of reader.fields) {
      const names = [field.name, ...field.aliases];
      const written = writer.fields.find(({ name }) => names.includes(name));
      const at = path === '' ? field.name : `${path}.${field.name}`;
      if (written === undefined) {
        if (field.defaultValue() === undefined) return `${at} is not written, and has no default`;
      } else if (!resolves(field.type, written.type, ignoreNamespaces)) {
        return describe(field.type, written.type, ignoreNamespaces, at);
      }
    }
  }
  if (isUnion(reader) || isUnion(writer)) {
    for (const written of isUnion(writer) ? writer.types : [writer]) {
      if (resolves(reader, written, ignoreNamespaces)) continue;
      const candidate = isUnion(reader) ? reader.types.find((type) => type.typeName === written.typeName) : reader;
      if (candidate !== undefined && candidate !== reader) return describe(candidate, written, ignoreNamespaces, path);
      return `${path || 'the value'}: ${shown(written)} cannot be read as ${shown(reader)}`;
    }
  }
  return `${path || 'the value'}: ${shown(writer)} cannot be read as ${shown(reader)}`;
}

function resolves(reader: AvroType, writer: AvroType, ignoreNamespaces: boolean): boolean {
  try {
    reader.createResolver(writer, { ignoreNamespaces });
    return true;
  } catch {
    return false;
  }
}

function isUnion(type: AvroType): type is avro.types.UnwrappedUnionType | avro.types.WrappedUnionType {
  return type instanceof avro.types.UnwrappedUnionType || type instanceof avro.types.WrappedUnionType;
}

function shown(type: AvroType): string {
  if (type.name !== undefined) return type.name;
  const text = JSON.stringify(type.schema({ exportAttrs: true, noDeref: true }));
  return text.length > 120 ? type.typeName : text;
}

function unqualified(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}
