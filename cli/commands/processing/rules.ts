import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import type { Config } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { formatTrimmed, PRICE_SCALE, parseDecimal } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import {
  applyRules,
  readRules,
  removeRules,
  type StoredRule,
} from '../../../processors/anomaly/operations/rules-topic.ts';
import { type Trial, tryRules } from '../../../processors/anomaly/operations/trial.ts';
import { parseRules } from '../../../processors/anomaly/rules/file.ts';
import { compileRule, fromRecord } from '../../../processors/anomaly/rules/parse.ts';
import { BUILT_IN } from '../../../processors/anomaly/settings.ts';
import type { Rule as RuleRecord } from '../../../schemas/gen/rule.ts';
import { loadConfig } from '../../settings/config.ts';
import { withLog } from '../../stack/log.ts';
import { timeOf, wholeNumber } from '../../terminal/options.ts';
import { printJson, printTable, say } from '../../terminal/print.ts';
import { untilSignal } from '../../terminal/signals.ts';

interface Options {
  readonly json?: boolean;
}

interface TestOptions extends Options {
  readonly from?: string;
  readonly to?: string;
  readonly last: string;
}

interface Listed {
  readonly id: string;
  /** Offset in the topic; -1 for the built-in rule. */
  readonly version: bigint;
  readonly state: 'in force' | 'off' | 'invalid';
  readonly written: string | null;
  readonly problem: string | null;
  readonly rule: Readonly<Record<string, unknown>>;
}

export function register(program: Command): void {
  const group = program
    .command('rules')
    .description('rules of the processor anomaly, in the topic rules; they take effect without a restart');
  group
    .command('list')
    .description('show the rules, the built-in one included')
    .option('--json', 'print JSON')
    .action(async (options: Options, command: Command) => {
      const listed = await list(loadConfig(command));
      if (options.json === true) printJson(listed);
      else print(listed);
    });
  group
    .command('show')
    .description('print a rule in the format of a rules file')
    .argument('<id>', 'id of the rule')
    .option('--json', 'print JSON')
    .action(async (id: string, options: Options, command: Command) => {
      const found = (await list(loadConfig(command))).find((each) => each.id === id);
      if (found === undefined) throw unknown([id]);
      if (options.json === true) printJson(found);
      else process.stdout.write(stringify({ rules: [found.rule] }, { defaultStringType: 'PLAIN' }));
    });
  group
    .command('apply')
    .description('put the rules of a file in force together; they replace rules with the same ids')
    .argument('<file>', 'YAML or JSON')
    .option('--json', 'print JSON')
    .action(async (file: string, options: Options, command: Command) => {
      const rules = await fromFile(file);
      const first = await withLog(loadConfig(command), (log, schemas) => applyRules(log, schemas, rules, Date.now()));
      const applied = rules.map(({ id }, at) => ({ id, version: first + BigInt(at) }));
      if (options.json === true) printJson(applied);
      else for (const { id, version } of applied) process.stdout.write(`${id} is in force as version ${version}\n`);
    });
  group
    .command('remove')
    .description('remove rules; the built-in one returns when its replacement is removed')
    .argument('<id...>', 'ids of the rules')
    .option('--json', 'print JSON')
    .action(async (ids: readonly string[], options: Options, command: Command) => {
      const removed = await withLog(loadConfig(command), (log, schemas) => removeRules(log, schemas, ids, Date.now()));
      if (options.json === true) printJson(removed);
      else for (const id of removed) process.stdout.write(`${id} is removed\n`);
      const missing = ids.filter((id) => !removed.includes(id));
      if (missing.length > 0) throw unknown(missing);
    });
  group
    .command('test')
    .description('apply the rules of a file to the history in the topics and print the anomalies; writes nothing')
    .argument('<file>', 'YAML or JSON')
    .option('--from <time>', 'anomalies with a window start or a trade at or after this time; ISO 8601')
    .option('--to <time>', 'anomalies before this time')
    .option('--last <n>', 'maximum number in the table, the newest', '40')
    .option('--json', 'print all anomalies with all fields as JSON')
    .action(async (file: string, options: TestOptions, command: Command) => {
      const config = loadConfig(command);
      const rules = await fromFile(file);
      const last = wholeNumber('--last', options.last, 1);
      const range = {
        ...(options.from !== undefined && { from: timeOf('--from', options.from) }),
        ...(options.to !== undefined && { to: timeOf('--to', options.to) }),
      };
      const trial = await withLog(config, (log, schemas) =>
        tryRules({
          ...range,
          log,
          schemas,
          settings: config.anomaly,
          rules: rules.map(compileRule).filter(({ enabled }) => enabled),
          heartbeatTopic: `${config.capture.prefix}.public.heartbeat`,
          signal: untilSignal(),
        }),
      );
      if (options.json === true) printJson(trial);
      else printTrial(trial, rules, last);
    });
}

async function fromFile(file: string): Promise<readonly RuleRecord[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `${file} cannot be read`, { cause, remedy: 'Name a file of rules.' });
  }
  return parseRules(text);
}

async function list(config: Config): Promise<readonly Listed[]> {
  const stored = await withLog(config, readRules);
  const builtIn = stored.some(({ rule }) => rule.id === BUILT_IN) ? [] : [builtInOf(config)];
  return [...builtIn, ...stored.map(describe)].sort((a, b) => (a.id < b.id ? -1 : 1));
}

function builtInOf({ anomaly }: Config): Listed {
  const { volumeMultiple, priceChange, lookback, direction } = anomaly;
  const rule = {
    id: BUILT_IN,
    type: 'volume_spike',
    severity: 'high',
    volume: `${volumeMultiple}x`,
    move: `${formatTrimmed(parseDecimal(priceChange, PRICE_SCALE) * 100n, PRICE_SCALE)}%`,
    lookback: `${lookback}`,
    direction,
  };
  return { id: BUILT_IN, version: -1n, state: 'in force', written: null, problem: null, rule };
}

function describe({ rule, offset, timestamp }: StoredRule): Listed {
  const shown = { id: rule.id, version: offset, written: formatTimestamp(timestamp * 1000n), rule: fromRecord(rule) };
  try {
    return { ...shown, state: compileRule(rule).enabled ? 'in force' : 'off', problem: null };
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    return { ...shown, state: 'invalid', problem: error.message };
  }
}

function print(listed: readonly Listed[]): void {
  printTable(
    ['rule', 'version', 'state', 'type', 'severity', 'what'],
    listed.map(({ id, version, state, rule, problem }) => {
      const { id: _, type, severity, enabled: __, description: ___, ...what } = rule;
      const text = Object.entries(what).map(
        ([name, value]) => `${name} ${Array.isArray(value) ? value.join(' ') : value}`,
      );
      return [
        id,
        version === -1n ? 'built in' : `${version}`,
        state,
        `${type}`,
        `${severity}`,
        problem ?? text.join(', '),
      ];
    }),
  );
}

function printTrial(
  { candles, trades, dead, late, anomalies }: Trial,
  rules: readonly RuleRecord[],
  last: number,
): void {
  const standing = anomalies.filter(({ status }) => status !== 'RETRACTED');
  say(`${candles} candles and ${trades} trades, ${late} late, ${dead} dead`);
  for (const { id } of rules) {
    const own = standing.filter(({ rule }) => rule === id).length;
    const retracted = anomalies.filter(({ rule, status }) => rule === id && status === 'RETRACTED').length;
    say(`${id}: ${own} ${own === 1 ? 'anomaly' : 'anomalies'}${retracted > 0 ? `, ${retracted} retracted` : ''}`);
  }
  if (standing.length === 0) return;
  say('');
  printTable(
    ['time (UTC)', 'rule', 'symbol', 'interval', 'explanation'],
    standing
      .slice(-last)
      .map(({ window_start, rule, symbol, interval, explanation }) => [
        formatTimestamp(window_start).slice(0, 19).replace('T', ' '),
        rule,
        symbol,
        interval || '–',
        explanation,
      ]),
  );
  if (standing.length > last) say(`… and ${standing.length - last} before; --last shows more`);
}

function unknown(ids: readonly string[]): MillraceError {
  return new MillraceError('CONFIG_INVALID', `the topic rules has no rule ${ids.join(', ')}`, {
    remedy: 'millrace rules list shows the rules.',
  });
}
