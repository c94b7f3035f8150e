import type { RunningStates } from '../state/shown/running.ts';

export interface Answer {
  readonly status: number;
  readonly body: object;
}

const defaultLimit = 100;
const greatestLimit = 1_000;

/**
 * Answers `/state`, `/state/<processor>`, `/state/<processor>/<store>?limit=&after=` and `/state/<processor>/<store>/<key>`; parts are
 * URL-encoded. Undefined for another path.
 */
export async function answerState(states: RunningStates, url: string): Promise<Answer | undefined> {
  const [path = '', query = ''] = url.split('?', 2);
  if (path !== '/state' && !path.startsWith('/state/')) return undefined;
  const parts = decode(path.slice('/state/'.length));
  if (parts === undefined) return { status: 400, body: { status: 'error', error: 'the path is not well encoded' } };
  const [processor = '', store = '', ...rest] = parts;
  // A key may have slashes of its own.
  const key = rest.join('/');
  if (processor === '') return { status: 200, body: { processors: states.processors } };
  const stores = states.stores(processor);
  if (stores.length === 0) return missing(`no task of ${processor} runs in this process`, states.processors);
  if (store === '') return { status: 200, body: { processor, stores } };
  const names = [...new Set(stores.map((each) => each.store))];
  if (!names.includes(store)) return missing(`${processor} has no store ${store}`, names);
  if (key === '') return list(states, processor, store, new URLSearchParams(query));
  const entries = states.lookup(processor, store, key);
  if (entries.length === 0) return missing('no such key in the partitions of this process', []);
  return { status: 200, body: { processor, store, entries } };
}

async function list(states: RunningStates, processor: string, store: string, query: URLSearchParams): Promise<Answer> {
  const limit = Number(query.get('limit') ?? defaultLimit);
  if (!Number.isInteger(limit) || limit < 1 || limit > greatestLimit) {
    return { status: 400, body: { status: 'error', error: `limit is a number from 1 to ${greatestLimit}` } };
  }
  const entries = await states.list(processor, store, { after: query.get('after') ?? '', limit });
  return { status: 200, body: { processor, store, entries } };
}

function missing(error: string, known: readonly string[]): Answer {
  return { status: 404, body: { status: 'error', error, known } };
}

function decode(path: string): readonly string[] | undefined {
  try {
    return path.split('/').map(decodeURIComponent);
  } catch {
    return undefined;
  }
}
