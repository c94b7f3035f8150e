/** Positions and uses of a file's columns. */
import { MillraceError } from '../../../core/base/errors.ts';
import {
  detectFormat,
  type Field,
  type Format,
  type FormatName,
  fields,
  fitsShape,
  formats,
  plainName,
  type TimeUnit,
} from './formats.ts';

export interface Column {
  /** Name in the file; without a header, the format's name for it. */
  readonly name: string;
  /** Undefined: the column is ignored. */
  readonly field?: Field;
  /** Reason for ignoring it, or the meaning of its values. */
  readonly note?: string;
}

export interface Layout {
  readonly format: FormatName;
  /** Column index by field. */
  readonly at: Readonly<Partial<Record<Field, number>>>;
  /** All columns of the file, in order. */
  readonly columns: readonly Column[];
  /** The first line is a header, not a trade. */
  readonly headed: boolean;
  readonly width: number;
  readonly unit: TimeUnit;
  /** Encoding of the side: a word; a flag (true: sell); the sign of the size. */
  readonly side: 'word' | 'flag' | 'sign';
  /** The file has the maker's side, so sides are inverted. */
  readonly turned: boolean;
}

export interface LayoutOptions {
  /** Format. Default `auto`. */
  readonly format?: FormatName;
  /** Values for the whole file. */
  readonly given?: Readonly<Partial<Record<Field, string>>>;
  /** Party whose side the file has. Default: by format and column, else the taker. */
  readonly side?: 'maker' | 'taker';
}

const flagColumns: ReadonlySet<string> = new Set(['isbuyermaker', 'sell', 'takersidesell']);

/**
 * @param first cells of the file's first line.
 * @throws MillraceError LOAD_REFUSED: a required column is missing, occurs twice or is also given by the caller, or the file has another
 *   format.
 */
export function layoutOf(first: readonly string[], options: LayoutOptions = {}): Layout {
  const { given = {} } = options;
  const name =
    options.format === undefined || options.format === 'auto' ? detectFormat(first, given.venue) : options.format;
  const format: Format = formats[name];
  const headed = isHeader(format, first);
  const names = (headed ? first : (format.header ?? [])).map((each) => each.trim()).slice(0, first.length);
  const plain = names.map(plainName);
  if (!headed) expectShape(name, first);
  const at = placeFields(format, { names, plain, given, first });
  const side = plain[at.side ?? -1];
  const flagged = side !== undefined && flagColumns.has(side);
  if (options.side !== undefined) {
    if (side === 'isbuyermaker')
      throw refused(`${names[at.side ?? 0]} tells whose side it is, and --side is given too`, names);
    if (side === undefined && format.signed !== true) throw refused('no column for side, and --side is given', names);
  }
  const whose = options.side ?? (side === 'makerside' ? 'maker' : (format.side ?? 'taker'));
  const turned = whose === 'maker';
  return {
    format: name,
    at,
    columns: describe(format, names, at, turned),
    headed,
    width: first.length,
    unit: format.unit,
    side: format.signed === true ? 'sign' : flagged ? 'flag' : 'word',
    turned,
  };
}

interface Header {
  readonly names: readonly string[];
  readonly plain: readonly string[];
  readonly given: Readonly<Partial<Record<Field, string>>>;
  readonly first: readonly string[];
}

function placeFields(format: Format, { names, plain, given, first }: Header): Partial<Record<Field, number>> {
  const at: Partial<Record<Field, number>> = {};
  for (const field of fields) {
    const wanted = (format.columns[field] ?? []).find((name) => plain.includes(name));
    if (wanted === undefined) continue;
    const place = plain.indexOf(wanted);
    if (place !== plain.lastIndexOf(wanted)) throw refused(`the column ${names[place]} is there twice`, names);
    if (given[field] !== undefined) {
      throw refused(
        `the file has a column ${names[place]}, and --${field} is given too: one of them must be wrong`,
        names,
      );
    }
    at[field] = place;
  }
  for (const field of ['price', 'size', 'executed_at'] as const) {
    if (at[field] !== undefined) continue;
    throw refused(`no column for ${field} (looked for: ${(format.columns[field] ?? []).join(', ')})`, names, first);
  }
  for (const field of ['venue', 'symbol'] as const) {
    if (at[field] === undefined && given[field] === undefined && (field !== 'venue' || format.venue === undefined))
      throw refused(`no column for ${field}, and no --${field}`, names);
  }
  return at;
}

/** Names consist of letters; the line of a trade has letters only in its flags. */
function isHeader(format: Format, first: readonly string[]): boolean {
  if (format.header === undefined) return true;
  return first.some((cell) => /^[a-z_ ]+$/i.test(cell.trim()) && !/^(true|false)$/i.test(cell.trim()));
}

function expectShape(name: FormatName, first: readonly string[]): void {
  const format: Format = formats[name];
  if (format.shape === undefined || fitsShape(format, first)) return;
  const other = detectFormat(first, undefined);
  if (other === 'auto' || other === name) return;
  throw new MillraceError('LOAD_REFUSED', `the file is not of the format ${name}: its lines are those of ${other}`, {
    remedy: `Give --format ${other}.`,
  });
}

function describe(format: Format, names: readonly string[], at: Layout['at'], turned: boolean): Column[] {
  return names.map((name, index): Column => {
    const field = fields.find((each) => at[each] === index);
    if (field === 'side') return { name, field, note: turned ? "the maker's, turned round" : "the taker's" };
    if (field === 'size' && format.signed === true)
      return { name, field, note: `a negative size is a ${turned ? 'purchase' : 'sale'} by the taker` };
    if (field !== undefined) return { name, field };
    const meant = fields.find((each) => formats.auto.columns[each].some((known) => known === plainName(name)));
    const taken = meant === undefined ? undefined : names[at[meant] ?? -1];
    return { name, note: taken === undefined ? 'no known meaning' : `${taken} is taken for ${meant}` };
  });
}

function refused(reason: string, header: readonly string[], first?: readonly string[]): MillraceError {
  return new MillraceError(
    'LOAD_REFUSED',
    `the file cannot be loaded: ${reason}; its columns are ${header.join(', ')}`,
    {
      remedy: first === undefined ? defaultRemedy : (remedyFor(first) ?? defaultRemedy),
    },
  );
}

const defaultRemedy = 'Give --format, --venue, --symbol or --side; `millrace load trades --help` lists the formats.';

function remedyFor(first: readonly string[]): string | undefined {
  const [only = ''] = first;
  const delimiter = first.length === 1 ? [';', '\t', '|'].find((each) => only.includes(each)) : undefined;
  if (delimiter !== undefined) return `Give --delimiter '${delimiter === '\t' ? '\\t' : delimiter}'.`;
  if (first.every((cell) => !/[a-z]/i.test(cell)))
    return 'The first line is no header: add one, or give the --format of a file without a header.';
  const format = detectFormat(first, undefined);
  return format === 'auto' ? undefined : `Give --format ${format}: the header is of that format.`;
}
