import { MillraceError } from './errors.ts';

/**
 * Former names, with the names of now: of settings by the section of the configuration, and of the options of windows. The only list of them.
 *
 * A former name is taken for one release, with a warning. Journals and state keep settings as they were recorded: those are read by this list for
 * as long as they are kept.
 */
const renames: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  ohlcv: { latenessMs: 'watermarkDelayMs', horizonMs: 'allowedLatenessMs' },
  features: { latenessMs: 'watermarkDelayMs', horizonMs: 'allowedLatenessMs' },
  manifest: { latenessMs: 'watermarkDelayMs' },
  windows: { lateness: 'watermarkDelay', horizon: 'allowedLateness' },
};

/** How far a record may be behind its key's greatest event time and not be late, microseconds. */
export type WatermarkDelay =
  | { readonly watermarkDelay: number; readonly lateness?: never }
  | {
      /** @deprecated Use `watermarkDelay`. */
      readonly lateness: number;
      readonly watermarkDelay?: never;
    };

/** How far the end of a window may be behind the watermark and the window still be revised, microseconds. */
export type AllowedLateness =
  | { readonly allowedLateness: number; readonly horizon?: never }
  | {
      /** @deprecated Use `allowedLateness`. */
      readonly horizon: number;
      readonly allowedLateness?: never;
    };

/** The names of now by the former ones. */
export function renamed(section: string): ReadonlyMap<string, string> {
  return new Map(Object.entries(renames[section] ?? {}));
}

export interface UnderNewNames {
  /** Called for each former name that is in use. Default: nobody is told. */
  readonly warn?: (message: string) => void;
  /** How a name is shown. Default: with its section. */
  readonly show?: (name: string) => string;
}

/**
 * The same values in the same order, under the names of now; the same object if it has no former name.
 *
 * @throws MillraceError CONFIG_INVALID: a value is given under both names.
 */
export function underNewNames<T extends object>(section: string, values: object, options: UnderNewNames = {}): T {
  const { warn, show = (name) => `${section}.${name}` } = options;
  const names = renamed(section);
  const given = Object.entries(values);
  const former = given.flatMap(([name, value]) => (names.has(name) && value !== undefined ? [name] : []));
  if (former.length === 0) return values as T;
  for (const name of former) {
    const now = names.get(name) as string;
    if ((values as Record<string, unknown>)[now] !== undefined) {
      throw new MillraceError('CONFIG_INVALID', `${show(name)} and ${show(now)} are two names of one setting`, {
        remedy: `Give ${show(now)} only.`,
      });
    }
    warn?.(`${show(name)} is deprecated: it is called ${show(now)} now`);
  }
  const kept = given.filter(([name, value]) => value !== undefined || !names.has(name));
  return Object.fromEntries(kept.map(([name, value]) => [names.get(name) ?? name, value])) as T;
}

/** Passes each message on once. */
export function once(warn: (message: string) => void): (message: string) => void {
  const told = new Set<string>();
  return (message) => {
    if (told.has(message)) return;
    told.add(message);
    warn(message);
  };
}

/** Warns of a former name in the program that uses the library: once in a process. */
const warnProgram = once((message) => process.emitWarning(message, 'DeprecationWarning'));

/** Options of windows under the names of now. @throws MillraceError CONFIG_INVALID: both names of one */
export function windowOptions<T extends object>(options: object): T {
  return underNewNames<T>('windows', options, { warn: warnProgram, show: (name) => name });
}
