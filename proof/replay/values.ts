/** Changes with every version of the code and says nothing about the data. */
const version: ReadonlySet<string> = new Set(['provenance.processor_version']);

/** One sentence for each field that differs. @param except field paths to ignore, e.g. `provenance.from_lsn` */
export function* differences(
  then: unknown,
  now: unknown,
  path = '',
  except: ReadonlySet<string> = new Set(),
): Generator<string> {
  if (version.has(path) || except.has(path)) return;
  if (isTree(then) && isTree(now)) {
    for (const name of new Set([...Object.keys(then), ...Object.keys(now)])) {
      yield* differences(then[name], now[name], path === '' ? name : `${path}.${name}`, except);
    }
  } else if (plain(then) !== plain(now)) {
    yield `${path === '' ? 'the value' : path} was ${plain(then)}, replayed ${plain(now)}`;
  }
}

function isTree(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value);
}

/** JSON with exact integers, for output and as an identity. */
export function plain(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  return JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? each.toString() : each)) ?? 'nothing';
}
