/**
 * Whether readers of a new schema can read what was written by an old one: Avro's BACKWARD. Stricter than a registry about
 * decimals, whose scale and precision registries do not look at.
 */
import { avroType } from './types.ts';

/** Why data written by `before` cannot be read by `after`, or undefined when it can. */
export function breakOf(after: object, before: object): string | undefined {
  try {
    const reader = avroType(after, { exactDecimals: true });
    reader.createResolver(avroType(before, { exactDecimals: true }));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
