/** Findings of the first pass over a file, and the checks that refuse a load. */
import { MillraceError } from '../../core/base/errors.ts';
import type { LateTrades } from './order/late.ts';
import type { Survey } from './order/survey.ts';
import type { RejectFile, RejectKind } from './rejects.ts';
import type { Field, FormatName } from './rows/formats.ts';
import type { Column } from './rows/layout.ts';
import type { TradeFile } from './trade-file.ts';

export interface Findings {
  readonly format: FormatName;
  /** The file has a header line. */
  readonly headed: boolean;
  readonly columns: readonly Column[];
  /** Values for the whole file. */
  readonly given: Readonly<Partial<Record<Field, string>>>;
  /** The file has no trade ids: they are computed from content and count. */
  readonly madeIds: boolean;
  /** Rows that can be loaded. */
  readonly rows: number;
  readonly symbols: number;
  /** Event times of these rows, milliseconds since 1970; null without rows. */
  readonly from: number | null;
  readonly to: number | null;
  readonly order: {
    /** Rows with an earlier time than a previous row of their symbol. */
    readonly back: number;
    /** Rows earlier than a previous row by more than the watermark delay, by symbol. */
    readonly late: readonly LateTrades[];
    readonly worstBackMs: number;
    readonly newestFirst: boolean;
    /** Rows are loaded in time order instead of file order. */
    readonly sorted: boolean;
  };
  /** New rows that are too late for candles because newer rows of their symbol came before, by symbol; null when not compared. */
  readonly late: readonly LateTrades[] | null;
  readonly rejected: number;
  readonly rejects: readonly RejectKind[];
  /** Null when no row was rejected. */
  readonly rejectFile: string | null;
}

export interface FindingsOptions {
  readonly file: TradeFile;
  readonly survey: Survey;
  readonly rejects: RejectFile;
  readonly late: readonly LateTrades[] | undefined;
  readonly sorted: boolean;
}

export function findingsOf({ file, survey, rejects, late, sorted }: FindingsOptions): Findings {
  const { format, headed, columns, at } = file.layout;
  const symbols = [...survey.symbols.values()];
  return {
    format,
    headed,
    columns,
    given: file.given,
    madeIds: at.trade_id === undefined,
    rows: survey.rows,
    symbols: symbols.length,
    from: symbols.reduce<number | null>((least, { earliest }) => Math.min(least ?? earliest, earliest), null),
    to: symbols.reduce<number | null>((most, { latest }) => Math.max(most ?? latest, latest), null),
    order: {
      back: survey.back,
      late: symbols
        .filter((each) => each.late > 0)
        .map(({ venue, symbol, late: trades, lateFrom, lateTo }) => ({
          venue,
          symbol,
          trades,
          from: lateFrom,
          to: lateTo,
        }))
        .sort((a, b) => b.trades - a.trades),
      worstBackMs: survey.worstBackMs,
      newestFirst: survey.newestFirst,
      sorted,
    },
    late: late ?? null,
    rejected: rejects.count,
    rejects: rejects.kinds.map((each) => ({ ...each })),
    rejectFile: rejects.count > 0 ? rejects.path : null,
  };
}

/** @throws MillraceError LOAD_REFUSED: the rejected rows exceed `maxRejects`. */
export function refuseRejects({ rejected, rejects, rejectFile, rows }: Findings, maxRejects: number): void {
  if (rejected <= maxRejects) return;
  const kinds = rejects.slice(0, 3).map(({ kind, count }) => `${count} × ${kind}`);
  const more = rejects.length > 3 ? ', …' : '';
  throw new MillraceError(
    'LOAD_REFUSED',
    `${rejected} of ${rows + rejected} rows cannot be loaded (${kinds.join(', ')}${more}), more than --max-rejects ${maxRejects}; nothing was loaded`,
    {
      remedy: `Read the reasons in ${rejectFile} and correct the file or the options.${rows === 0 ? '' : ` --max-rejects ${rejected} loads the other rows.`}`,
    },
  );
}

/** @throws MillraceError LOAD_REFUSED: rows are earlier than previous rows by more than the watermark delay. */
export function refuseDisorder(
  { order, madeIds, rows }: Findings,
  options: { readonly sort: boolean; readonly allowLate: boolean; readonly watermarkDelayMs: number },
): void {
  if (order.late.length === 0 || options.sort || (options.allowLate && !madeIds)) return;
  const trades = sum(order.late);
  const where = order.newestFirst
    ? 'the file has the newest trades first: '
    : 'the file is not in the order of its times: ';
  const consequence = options.allowLate
    ? 'trade ids cannot be made for a file in disorder'
    : 'candles would refuse them as late';
  throw new MillraceError(
    'LOAD_REFUSED',
    `${where}${trades} of ${rows} rows are older than a row before them by more than ${options.watermarkDelayMs} ms (ohlcv.watermarkDelayMs); ${consequence}; nothing was loaded`,
    {
      remedy: `Give --sort to load the rows in the order of their times${madeIds ? '' : ', or --allow-late to load them as they are'}.`,
    },
  );
}

/** @throws MillraceError LOAD_REFUSED: newer trades of the same symbols came before. */
export function refuseLate({ late }: Findings, watermarkDelayMs: number): void {
  const [first] = late ?? [];
  if (late === null || first === undefined) return;
  throw new MillraceError(
    'LOAD_REFUSED',
    `${sum(late)} new trades of ${first.venue} ${first.symbol}${late.length > 1 ? ` and ${late.length - 1} other symbols` : ''} are too late for candles: Postgres has newer ones by more than ${watermarkDelayMs} ms (ohlcv.watermarkDelayMs), or candles of their times are frozen; nothing was loaded`,
    {
      remedy:
        'Load history before newer trades. Or load with --allow-late, and make the candles again: the command is printed after the load.',
    },
  );
}

function sum(late: readonly LateTrades[]): number {
  return late.reduce((total, { trades }) => total + trades, 0);
}
