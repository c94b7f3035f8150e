/** What readers of the archive call its tables, and the rule by which the present state comes out of all that was archived. */
import { type ArchivedTopic, archivedTopics } from '../../../schemas/topics.ts';
import { quoted } from '../../values/sql.ts';

/** What DuckDB is to call the file of a row (`filename = …`): the source may have a column `filename`, and none with a space in its name. */
export const fileColumn = 'file name';

export interface Naming {
  /** Everything that was archived of the topic, one row per record. */
  readonly all: string;
  /** Each key's newest row. */
  readonly newest: string;
  readonly key: readonly string[];
  /** Which row of a key is the newest: the first in this order. */
  readonly order: string;
  /** Which of the newest rows are still there. */
  readonly alive?: string;
  /** All rows of a key are of one day: then a filter on the path's columns reaches the files. */
  readonly oneDay: boolean;
}

export const namings: Readonly<Record<ArchivedTopic, Naming>> = Object.freeze({
  'cdc.public.trades': {
    all: 'trades',
    newest: 'trades_now',
    key: ['venue', 'symbol', 'trade_id'],
    order: '"_offset" DESC',
    alive: `"_op" NOT IN ('d', 't')`,
    oneDay: false,
  },
  'cdc.public.instruments': {
    all: 'instruments',
    newest: 'instruments_now',
    key: ['venue', 'symbol'],
    order: '"_offset" DESC',
    alive: `"_op" NOT IN ('d', 't')`,
    oneDay: false,
  },
  'market.candles': {
    all: 'candles',
    newest: 'candles_newest',
    key: ['venue', 'symbol', 'interval', 'window_start'],
    order: '"revision" DESC, "_offset" DESC',
    oneDay: true,
  },
  'market.anomalies': {
    all: 'anomalies',
    newest: 'anomalies_newest',
    key: ['venue', 'symbol', 'interval', 'window_start', 'type', 'rule', 'event'],
    order: '"revision" DESC, "_offset" DESC',
    oneDay: true,
  },
});

/** Parts of each object's path, text as they are there: `2013`, `01`, `05`. */
export const pathColumns = Object.freeze(['year', 'month', 'day'] as const);

/** Every name of every table, for messages. */
export const viewNames: readonly string[] = Object.freeze(
  archivedTopics.flatMap((topic) => [namings[topic].all, namings[topic].newest]),
);

/**
 * The topics that a statement may read, by the words in it. Rather one too many (a name in a comment) than one too few: what a parser
 * says would miss names that it cannot bind yet.
 */
export function mentionedTopics(sql: string): readonly ArchivedTopic[] {
  return archivedTopics.filter((topic) => {
    const { all, newest } = namings[topic];
    // `cdc.public.trades` ends with `trades`, `market.candles` with `candles`.
    return [all, newest].some((name) => new RegExp(`(?<!\\w)${name}(?!\\w)`, 'i').test(sql));
  });
}

/**
 * A SELECT of each key's newest row.
 *
 * @param from the table with all rows
 * @param columns what to select: everything but `newest_first`, in the words of the dialect
 */
export function newestOf(topic: ArchivedTopic, from: string, columns: string): string {
  const { key, order, alive, oneDay } = namings[topic];
  const partition = [...(oneDay ? pathColumns : []), ...key].map(quoted).join(', ');
  return `SELECT ${columns} FROM (
  SELECT *, row_number() OVER (PARTITION BY ${partition} ORDER BY ${order}) AS newest_first FROM ${from}
) AS ranked
WHERE newest_first = 1${alive === undefined ? '' : ` AND ${alive}`}`;
}
