import { MillraceError } from '../../../core/base/errors.ts';

interface RecordSchema {
  readonly name?: string;
  readonly fields: readonly { readonly name: string; readonly type: unknown }[];
}

/**
 * Checks that a processor reads only fields that the archive keeps. A default in place of a missing field would give a wrong result.
 *
 * @param reader the processor's schema
 * @param kept the schema of the rebuilt records
 * @throws MillraceError REPLAY_IMPOSSIBLE: names the missing field
 */
export function requireReadable(topic: string, reader: object, kept: object): void {
  const path = firstMissing(reader, kept, [new Map(), new Map()]);
  if (path === undefined) return;
  throw new MillraceError(
    'REPLAY_IMPOSSIBLE',
    `the processor reads ${path} of ${topic}, which the archive's rows do not give back`,
    {
      remedy: 'replay it without --from-cold; the archive returns only the fields of schemas/',
    },
  );
}

type Named = Map<string, RecordSchema>;

function firstMissing(reader: unknown, kept: unknown, named: readonly [Named, Named]): string | undefined {
  const [wanted, present] = [recordOf(reader, named[0]), recordOf(kept, named[1])];
  if (wanted === undefined || present === undefined) return undefined;
  for (const { name, type } of wanted.fields) {
    const field = present.fields.find((each) => each.name === name);
    if (field === undefined) return name;
    const inner = firstMissing(type, field.type, named);
    if (inner !== undefined) return `${name}.${inner}`;
  }
  return undefined;
}

/** The record type inside a nullable union, a list or a name. */
function recordOf(type: unknown, named: Named): RecordSchema | undefined {
  if (Array.isArray(type))
    return recordOf(
      type.find((each) => each !== 'null'),
      named,
    );
  if (typeof type === 'string') return named.get(type);
  if (typeof type !== 'object' || type === null) return undefined;
  const { name, fields, items } = type as RecordSchema & { readonly items?: unknown };
  if (items !== undefined) return recordOf(items, named);
  if (fields === undefined) return undefined;
  if (name !== undefined) named.set(name, type as RecordSchema);
  return type as RecordSchema;
}
