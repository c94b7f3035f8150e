import { z } from 'zod';
import { MillraceError } from '../../../core/base/errors.ts';
import { PRICE_SCALE, parseDecimal } from '../../../core/values/decimal.ts';
import { parseInterval } from '../../../core/values/time.ts';
import type { Rule as RuleRecord } from '../../../schemas/gen/rule.ts';
import { measures } from './measure.ts';
import type { Rule } from './rule.ts';

/** Upper bound of limits, exclusive: the range of DECIMAL(20,8). */
const LIMIT = 10n ** 20n;

/** All values are text: `70000.1` or `3x` never passes through a number that could round it. */
function text<T>(expected: string, read: (text: string) => T | undefined) {
  return z.string(expected).transform((value, context): T => {
    try {
      const result = read(value);
      if (result !== undefined) return result;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
    }
    context.addIssue({ code: 'custom', message: `${expected}, not ${JSON.stringify(value.slice(0, 60))}` });
    return z.NEVER;
  });
}

function within(value: bigint, least = 0n): bigint | undefined {
  return value >= least && value < LIMIT ? value : undefined;
}

const multiple = text('has to be a multiple such as 3x or 2.5x', (value) =>
  value.endsWith('x') ? within(parseDecimal(value.slice(0, -1), PRICE_SCALE)) : undefined,
);
/** Fraction at scale 8; percentages have two digits fewer. */
const percent = text('has to be a percentage such as 5% or 0.25%', (value) =>
  value.endsWith('%') ? within(parseDecimal(value.slice(0, -1), PRICE_SCALE - 2)) : undefined,
);
const level = text('has to be a decimal with up to 8 fraction digits', (value) =>
  within(parseDecimal(value, PRICE_SCALE), 1n - LIMIT),
);
const score = text('has to be a number of standard deviations above 0, such as 4', (value) =>
  within(parseDecimal(value, PRICE_SCALE), 1n),
);
const duration = text('has to be a time such as 30s, 5m or 1h', parseInterval);
const count = (least: number, most: number) =>
  text(`has to be a whole number from ${least} to ${most}`, (value) => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : -1;
    return number >= least && number <= most ? number : undefined;
  });
const direction = z.enum(['any', 'up', 'down']).default('any');
const of = z.enum(measures);
const texts = z.array(z.string().min(1)).max(1_000).default([]);
const flag = z
  .enum(['true', 'false'])
  .default('true')
  .transform((value) => value === 'true');

const common = {
  id: z
    .string()
    .regex(/^[a-z][a-z0-9_-]{0,63}$/, 'has to be lower-case letters, digits, dashes and underscores, at most 64'),
  enabled: flag,
  severity: z
    .enum(['low', 'medium', 'high'])
    .default('high')
    .transform((value) => value.toUpperCase() as Rule['severity']),
  description: z.string().max(1_000).default(''),
  venues: texts,
  symbols: texts,
};
/** Interval names as in candles: a length, a length with a step, or the sessions of a calendar. */
const interval = z
  .string()
  .regex(/^([1-9]\d{0,5}[smhd](\/[1-9]\d{0,5}[smhd])?|session)$/, 'has to be an interval of candles such as 1m');
const onCandles = { ...common, intervals: z.array(interval).max(100).default([]) };

const anyKind = z.looseObject(onCandles);

/** Rules across fields are also checked when one field is wrong on its own, so that all faults are reported at once. */
const always = { when: () => true };

/** Rule types with their fields. Other fields are refused. */
const ruleSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('volume_spike'),
    ...onCandles,
    volume: multiple,
    move: percent,
    lookback: count(1, 1_000).prefault('20'),
    direction,
  }),
  z.strictObject({ type: z.literal('price_jump'), ...onCandles, move: percent, direction }),
  z.strictObject({
    type: z.literal('z_score'),
    ...onCandles,
    of,
    score,
    lookback: count(2, 1_000).prefault('20'),
    direction,
  }),
  z
    .strictObject({
      type: z.literal('threshold'),
      ...onCandles,
      of,
      above: level.optional(),
      below: level.optional(),
      clear: level.optional(),
    })
    .refine(({ above, below }) => (above === undefined) !== (below === undefined), {
      error: 'needs either above or below',
      ...always,
    })
    .refine(
      ({ above, below, clear }) =>
        clear === undefined || (above === undefined ? clear >= (below ?? clear) : clear <= above),
      'clear has to be on the other side of the limit: at or below above, at or above below',
    ),
  z.strictObject({ type: z.literal('stale_feed'), ...common, after: duration }),
  z.strictObject({
    type: z.literal('sequence_gap'),
    ...common,
    missing: count(1, 999_999_999).prefault('1'),
    restarts: z.enum(['never', 'daily']).default('never'),
  }),
]);

/**
 * Parses one rule: an object with text leaves, as in a file.
 *
 * @throws MillraceError RULE_INVALID: names the rule and each wrong field.
 */
export function parseRule(input: unknown): Rule {
  const parsed = ruleSchema.safeParse(input);
  if (parsed.success) return toRule(parsed.data);
  const id = (input as { id?: unknown } | null | undefined)?.id;
  const { issues } = parsed.error;
  const unknownKind = issues.some(({ code, path }) => code === 'invalid_union' && path[0] === 'type');
  // Without a valid type, the schema checks no other fields. They are checked here against all types.
  const others = unknownKind ? (anyKind.safeParse(input).error?.issues ?? []) : [];
  const wrong = [...issues, ...others].map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  throw new MillraceError('RULE_INVALID', `rule ${typeof id === 'string' ? id : 'without id'}: ${wrong.join('; ')}`, {
    remedy: 'Correct the named fields; docs/reference/processing/anomaly-rules.md lists each kind of rule.',
  });
}

/** Parses a rule of the topic. @throws MillraceError RULE_INVALID */
export function compileRule(record: RuleRecord): Rule {
  return parseRule(fromRecord(record));
}

/** Converts a rule of the topic to the form of a file. */
export function fromRecord({
  id,
  type,
  enabled,
  severity,
  description,
  venues,
  symbols,
  intervals,
  parameters,
}: RuleRecord) {
  return {
    id,
    type,
    ...(enabled ? {} : { enabled: 'false' }),
    severity: severity.toLowerCase(),
    ...(description === '' ? {} : { description }),
    ...(venues.length === 0 ? {} : { venues }),
    ...(symbols.length === 0 ? {} : { symbols }),
    ...(intervals.length === 0 ? {} : { intervals }),
    ...parameters,
  };
}

const columns: ReadonlySet<string> = new Set([...Object.keys(onCandles), 'type']);

/** Checks a rule of a file and converts it to the form of the topic. @throws MillraceError RULE_INVALID */
export function toRecord(input: unknown): RuleRecord {
  const rule = parseRule(input);
  const fields = input as Readonly<Record<string, unknown>>;
  const list = (name: string): readonly string[] => (fields[name] ?? []) as readonly string[];
  return {
    id: rule.id,
    type: rule.type,
    enabled: rule.enabled,
    severity: rule.severity,
    description: (fields['description'] ?? '') as string,
    venues: list('venues'),
    symbols: list('symbols'),
    intervals: list('intervals'),
    parameters: Object.fromEntries(
      Object.entries(fields)
        .filter(([name]) => !columns.has(name))
        .sort(([a], [b]) => (a < b ? -1 : 1)) as [string, string][],
    ),
  };
}

function toRule(parsed: z.output<typeof ruleSchema>): Rule {
  const { id, severity, enabled } = parsed;
  const base = { id, severity, enabled, venues: new Set(parsed.venues), symbols: new Set(parsed.symbols) };
  if (parsed.type === 'stale_feed') return { ...base, type: parsed.type, after: parsed.after };
  if (parsed.type === 'sequence_gap') {
    return { ...base, type: parsed.type, missing: BigInt(parsed.missing), restarts: parsed.restarts };
  }
  const onCandle = { ...base, intervals: new Set(parsed.intervals) };
  switch (parsed.type) {
    case 'volume_spike': {
      const { type, volume, move, lookback, direction } = parsed;
      return { ...onCandle, type, volumeMultiple: volume, priceChange: move, lookback, direction };
    }
    case 'price_jump':
      return { ...onCandle, type: parsed.type, move: parsed.move, direction: parsed.direction };
    case 'z_score': {
      const { type, of, score, lookback, direction } = parsed;
      return { ...onCandle, type, of, score, lookback, direction };
    }
    case 'threshold': {
      const { type, of, above, below } = parsed;
      const limit = (above ?? below) as bigint;
      const side = above === undefined ? 'below' : 'above';
      return { ...onCandle, type, of, side, limit, clear: parsed.clear ?? limit };
    }
  }
}
