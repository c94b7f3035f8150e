/**
 * Hides secrets in what is printed: values of secret-sounding keys, and the user part of URLs.
 *
 * Not its job: deciding what is logged. It copies, it never changes what it is given.
 */
const secretKey = /passw(or)?d|pwd|secret|token|credential|authorization|access_?key|api_?key|private_?key|jaas/i;
const urlPassword = /\b([a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi;
const keyedValue =
  /\b(password|passwd|pwd|secret(?:accesskey|_access_key)?|access_?key(?:_?id)?)\s*=\s*("[^"]*"|'[^']*'|[^\s,;&]+)/gi;

export const masked = '***';

/** Masks passwords in URLs and `password=…` pairs inside a text. */
export function maskText(text: string): string {
  return text.replace(urlPassword, `$1:${masked}@`).replace(keyedValue, `$1=${masked}`);
}

/** A printable copy: secrets masked, bigints as decimal text, errors with code, remedy and causes, cycles and depth cut. */
export function maskSecrets(value: unknown): unknown {
  return copy(value, 0, new Set());
}

const maxDepth = 8;
const maxBytes = 64;

function copy(value: unknown, depth: number, above: Set<object>): unknown {
  if (typeof value === 'string') return maskText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (typeof value !== 'object' || value === null) return value;
  if (above.has(value)) return '[circular]';
  if (depth >= maxDepth) return '[deep]';
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
  if (ArrayBuffer.isView(value)) return bytes(value);
  above.add(value);
  try {
    if (value instanceof Error) return errorFields(value, depth, above);
    if (Array.isArray(value)) return value.map((item) => copy(item, depth + 1, above));
    if (value instanceof Map) return copy(Object.fromEntries(value), depth, above);
    if (value instanceof Set) return [...value].map((item) => copy(item, depth + 1, above));
    return fields(value, depth, above);
  } finally {
    above.delete(value);
  }
}

function fields(value: object, depth: number, above: Set<object>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    const hide = secretKey.test(key) && item !== undefined && item !== null && item !== '';
    out[key] = hide ? masked : copy(item, depth + 1, above);
  }
  return out;
}

function errorFields(error: Error, depth: number, above: Set<object>): Record<string, unknown> {
  const out = fields(error, depth, above);
  out['type'] = error.name;
  out['message'] = maskText(error.message);
  if (error.stack !== undefined) out['stack'] = maskText(error.stack);
  if (error.cause !== undefined) out['cause'] = copy(error.cause, depth + 1, above);
  if (error instanceof AggregateError) out['errors'] = error.errors.map((item) => copy(item, depth + 1, above));
  return out;
}

function bytes(view: ArrayBufferView): string {
  const head = Buffer.from(view.buffer, view.byteOffset, Math.min(view.byteLength, maxBytes));
  return `${head.toString('hex')}${view.byteLength > maxBytes ? `… (${view.byteLength} bytes)` : ''}`;
}
